"""Actions on many tasks, and retries of graphs, over the API without a runner."""

from typing import Any

import httpx
import pytest

from tests.flow.edge.control_api import Gateway

TASKS = "/api/tasks"


async def post(gate: Gateway, path: str, body: Any = None) -> httpx.Response:
    return await gate.client.post(path, headers=gate.ours.headers("owner"), json=body)


async def statuses(gate: Gateway, ids: list[str]) -> list[str]:
    return [(await gate.client.get(f"{TASKS}/{each}", headers=gate.ours.headers("owner"))).json()["status"] for each in ids]


async def chain(gate: Gateway, count: int) -> list[str]:
    """Tasks of which each waits for the one before; the first is cancelled, so that all have ended."""
    tasks = [{"name": "f", "ref": str(n), "parents": [str(n - 1)] if n else []} for n in range(count)]
    ids = [each["id"] for each in (await post(gate, TASKS, {"tasks": tasks})).json()["data"]]
    await post(gate, f"{TASKS}/{ids[0]}/cancel")
    assert await statuses(gate, ids) == ["cancelled"] + ["failed"] * (count - 1)
    return ids


async def act(gate: Gateway, action: str, wanted: dict[str, Any], **fields: Any) -> httpx.Response:
    return await post(gate, f"{TASKS}/actions", {"action": action, "filter": wanted, "dry_run": False, **fields})


@pytest.mark.parametrize("wanted", [{}, {"q": ""}, {"batch_lines": True}])
async def test_action_with_an_empty_filter_is_refused_unless_all_is_said(gate: Gateway, wanted: dict[str, Any]) -> None:
    ids = [(await post(gate, TASKS, {"name": "f"})).json()["id"] for _ in range(2)]
    refused = await act(gate, "cancel", wanted)
    assert (refused.status_code, refused.json()["param"]) == (400, "filter")
    assert await statuses(gate, ids) == ["ready", "ready"]
    assert (await act(gate, "cancel", wanted, all=True)).json()["done"] == 2


@pytest.mark.parametrize("wanted", [{"q": "%"}, {"q": "\U0001f600"}, {"q": " "}])
async def test_action_on_a_search_without_a_word_is_refused(gate: Gateway, wanted: dict[str, Any]) -> None:
    task = (await post(gate, TASKS, {"name": "f"})).json()["id"]
    for more in ({}, {"all": True}):
        refused = await act(gate, "cancel", wanted, **more)
        assert (refused.status_code, refused.json()["param"]) == (400, "q")
    dry = await post(gate, f"{TASKS}/actions", {"action": "cancel", "filter": wanted})
    assert dry.status_code == 400
    listed = await gate.client.get(TASKS, headers=gate.ours.headers("owner"), params=wanted)
    assert (listed.status_code, listed.json()["param"]) == (400, "q")
    assert await statuses(gate, [task]) == ["ready"]


@pytest.mark.parametrize("wanted", [{"ids": []}, {"ids": [], "queue": "medium"}, {"status": []}, {"tags": []}])
async def test_list_in_a_filter_that_names_nothing_is_refused(gate: Gateway, wanted: dict[str, Any]) -> None:
    assert (await act(gate, "cancel", wanted, all=True)).status_code == 422


async def test_retried_task_says_whether_it_waits_for_its_parents(gate: Gateway) -> None:
    root, child, grandchild = await chain(gate, 3)
    alone = await post(gate, f"{TASKS}/{child}/retry")
    assert alone.status_code == 409
    assert root in alone.json()["detail"]
    assert (await post(gate, f"{TASKS}/{root}/retry")).json() == {"id": root, "status": "ready"}
    assert (await post(gate, f"{TASKS}/{child}/retry")).json() == {"id": child, "status": "blocked"}
    assert await statuses(gate, [root, child, grandchild]) == ["ready", "blocked", "failed"]


async def test_retry_with_dependents_takes_the_whole_chain(gate: Gateway) -> None:
    ids = await chain(gate, 3)
    answer = await post(gate, f"{TASKS}/{ids[0]}/retry?with_dependents=true")
    assert answer.json() == {"id": ids[0], "status": "ready"}
    assert await statuses(gate, ids) == ["ready", "blocked", "blocked"]


async def test_action_retries_chains_behind_their_parents(gate: Gateway) -> None:
    ids = await chain(gate, 4)
    assert (await act(gate, "retry", {"status": ["failed"]})).json()["done"] == 0, "their parent was cancelled, and stays so"
    assert (await act(gate, "retry", {"status": ["failed", "cancelled"]})).json()["done"] == 4
    assert await statuses(gate, ids) == ["ready", "blocked", "blocked", "blocked"]


async def test_action_retries_with_dependents(gate: Gateway) -> None:
    ids = await chain(gate, 3)
    await act(gate, "retry", {"ids": ids[:1]}, with_dependents=True)
    assert await statuses(gate, ids) == ["ready", "blocked", "blocked"]
    assert (await act(gate, "cancel", {"ids": ids}, with_dependents=True)).status_code == 422


async def test_parent_of_a_waiting_task_cannot_be_deleted(gate: Gateway) -> None:
    root, child = await chain(gate, 2)
    running = {"name": "f", "parents": [{"task": root, "on_failure": "run"}]}
    waiting = (await post(gate, TASKS, running)).json()["id"]
    refused = await gate.client.delete(f"{TASKS}/{root}", headers=gate.ours.headers("owner"))
    assert (refused.status_code, "waits for this one" in refused.json()["detail"]) == (409, True)
    await post(gate, f"{TASKS}/{waiting}/cancel")
    assert (await gate.client.delete(f"{TASKS}/{root}", headers=gate.ours.headers("owner"))).status_code == 204
    assert await statuses(gate, [child]) == ["failed"]
