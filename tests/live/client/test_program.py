"""A program that submits tasks with `penstock.Client` and `penstock.AsyncClient`, against a platform of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
from penstock import TaskOptions, TaskRequest, result_of
from tests.support.running import Running, penstock_up

_JOBS = """
import time

import penstock


@penstock.task("word_count")
def word_count(text: str) -> int:
    return len(text.split())


@penstock.task("total")
def total(counts: list) -> int:
    return sum(counts)


@penstock.task("refuses", max_attempts=1)
def refuses() -> None:
    raise ValueError("it refuses")


@penstock.task("nap", max_attempts=1)
def nap(seconds: float) -> None:
    penstock.progress({"napping": True})
    time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("client")
    (directory / "client_jobs.py").write_text(_JOBS)
    path = f"{directory}:{Path(penstock.__file__).parents[1]}"
    with penstock_up(directory, ["--import", "client_jobs"], PYTHONPATH=path) as running:
        yield running


@pytest.fixture
def client(platform: Running) -> Iterator[penstock.Client]:
    with penstock.Client(platform.base_url, platform.api_key) as client:
        yield client


def test_a_result_comes_back(client: penstock.Client) -> None:
    task = client.tasks.submit("word_count", {"text": "three small words"})
    assert task.result(60) == 3
    info = task.get()
    assert (info.status, info.name, info.attempt, info.result) == ("succeeded", "word_count", 1, 3)


def test_a_dag_is_submitted_at_once_and_uses_its_parents_results(client: penstock.Client) -> None:
    texts = ["one", "two words", "and three words"]
    counting = [TaskRequest("word_count", [text], ref=f"count-{number}") for number, text in enumerate(texts)]
    refs = [request.ref or "" for request in counting]
    summing = TaskRequest("total", {"counts": [result_of(ref) for ref in refs]}, options=TaskOptions(parents=refs))
    handles = client.tasks.submit_many([*counting, summing])
    assert client.tasks.results(handles, 60) == [1, 2, 3, 6]


def test_a_failure_is_raised_with_its_reason(client: penstock.Client) -> None:
    with pytest.raises(penstock.TaskFailed, match="ValueError: it refuses") as raised:
        client.tasks.submit("refuses").result(60)
    assert raised.value.task.error is not None
    assert raised.value.task.error.code == "raised"


def test_a_running_task_is_cancelled(client: penstock.Client) -> None:
    task = client.tasks.submit("nap", [60])
    with pytest.raises(TimeoutError, match=task.id):
        task.result(0.05)
    task.cancel()
    assert task.wait(60).status == "cancelled"


def test_an_unknown_task_is_an_error_and_not_waited_for(client: penstock.Client) -> None:
    with pytest.raises(penstock.ApiError) as raised:
        client.tasks.result("task_0000000000000001", 60)
    assert (raised.value.status, raised.value.code) == (404, "not_found")
    with pytest.raises(penstock.ApiError, match="request req_"):
        client.tasks.results(["task_0000000000000001"], 60)


def test_the_same_key_is_the_same_task(client: penstock.Client) -> None:
    ids = {client.tasks.submit("word_count", ["a b"], idempotency_key="once").id for _ in range(3)}
    assert len(ids) == 1


def test_a_wrong_key_is_refused_by_the_gateway(platform: Running) -> None:
    with penstock.Client(platform.base_url, "sk-wrong") as stranger, pytest.raises(penstock.ApiError) as raised:
        stranger.tasks.submit("word_count", ["a"])
    assert raised.value.status == 401


def test_a_gateway_that_is_not_there_is_named() -> None:
    with (
        penstock.Client("http://127.0.0.1:9", "sk-any") as lost,
        pytest.raises(penstock.GatewayUnreachable, match=r"http://127\.0\.0\.1:9"),
    ):
        lost.tasks.get("task_0000000000000001")


async def test_the_same_with_asyncio(platform: Running) -> None:
    async with penstock.AsyncClient(platform.base_url, platform.api_key) as client:
        handles = await client.tasks.submit_many([TaskRequest("word_count", [text]) for text in ("a", "a b")])
        assert await client.tasks.results(handles, 60) == [1, 2]
        single = await client.tasks.submit("word_count", ["a b c"])
        assert await single.result(60) == 3
        sleeper = await client.tasks.submit("nap", [60])
        await sleeper.cancel()
        assert (await sleeper.wait(60)).status == "cancelled"
        with pytest.raises(penstock.TaskFailed, match="refuses"):
            await (await client.tasks.submit("refuses")).result(60)
