"""What this field's issue trackers are full of, by the issue's name: each of them must not happen here."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from penstock.domain.ports import Store
from penstock.domain.principal import Principal, Scope, SystemActor
from penstock.domain.usage import Outcome
from penstock.storage.stores import make_store
from tests.support import postgres
from tests.support.gateway import CHAT, Client, Platform, data_events, platform, raw, reply, scripted, token_event
from tests.support.sources import ROOT
from tests.support.waiting import until


async def seven_tokens(client: Client) -> None:
    """A script: a stream that stops after seven tokens and waits for the client to go."""
    await client.begin_stream(x_penstock_prompt_tokens="11")
    for number in range(7):
        await client.chunk(token_event(f"t{number}"))
    await client.until_gone()


async def test_litellm_3341_a_client_that_leaves_stops_the_upstream(tmp_path: Path) -> None:
    async with scripted(seven_tokens) as (server,), platform(tmp_path, [server.url]) as gate:
        async with raw(gate.port) as client:
            await client.send(gate.request(stream=True))
            await client.reader.readuntil(b'"t6"')
            assert not server.requests[0].gone.is_set()
        async with asyncio.timeout(1.0):
            await server.requests[0].gone.wait()
        await gate.until_quiet(1.0)


async def test_litellm_14457_usage_is_not_lost_on_an_early_disconnect(tmp_path: Path) -> None:
    async with scripted(seven_tokens) as (server,), platform(tmp_path, [server.url]) as gate:
        async with raw(gate.port) as client:
            await client.send(gate.request(stream=True))
            await client.reader.readuntil(b'"t6"')
        await gate.until_quiet(1.0)
        (record,) = await gate.records()
        assert (record.outcome, record.prompt_tokens, record.completion_tokens, record.estimated) == (Outcome.CLIENT_LEFT, 11, 7, False)


async def test_portkey_1797_a_stream_is_not_truncated_silently(tmp_path: Path) -> None:
    """The connection ends in the middle, as if all were well: the client must see an error, and never `[DONE]`."""

    async def cut(client: Client) -> None:
        await client.begin_stream()
        await client.chunk(token_event("half an"))
        await client.end_stream()

    async with scripted(cut) as (server,), platform(tmp_path, [server.url]) as gate:
        events = data_events((await gate.chat(stream=True)).content)
        assert json.loads(events[-1])["error"]["code"] == "upstream_error"
        assert "[DONE]" not in events
        (record,) = await gate.records()
        assert (record.outcome, record.completion_tokens) == (Outcome.FAILED, 2)


async def test_litellm_27736_limits_multiply_by_replica_only_as_documented(tmp_path: Path) -> None:
    """Counters in memory are each gateway's own: two of them let through twice the limit, which docs/explanation/scheduling.md says.

    What is in the store, such as the limit itself and who is on which plan, is the same on both at once.
    """

    async def well(client: Client) -> None:
        await client.answer(200, reply())

    def store(_: object) -> Store:
        return make_store(url, secret_key=b"of both")

    with postgres.database() as url:
        secret: dict[str, Any] = {"secret_key": "of both"}
        async with (
            scripted(well) as (server,),
            platform(tmp_path / "a", [server.url], store=store, **secret) as one,
            platform(tmp_path / "b", [server.url], store=store, **secret) as other,
        ):
            key = await key_on_a_plan_of_three_a_minute(one)
            assert [await served(each, key, 5) for each in (one, other)] == [3, 3]
    documented = (ROOT / "docs" / "explanation" / "scheduling.md").read_text(encoding="utf-8")
    assert "each gateway counts for itself" in documented


async def key_on_a_plan_of_three_a_minute(gate: Platform) -> str:
    gateway = gate.gateway
    free = next(plan for plan in await gateway.store.accounts.plans() if plan.name == "free")
    await gateway.store.accounts.save_plan(replace(free, requests_per_minute=3))
    admin = Principal("", SystemActor("test"), free, frozenset(Scope))
    org = await gateway.accounts.create_organisation(admin, "three", "free")
    _, key = await gateway.accounts.create_key(admin, name="test", org_id=org.id)
    return key


async def served(gate: Platform, key: str, requests: int) -> int:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=gate.gateway.base_url, headers=headers, timeout=30, trust_env=False) as client:
        answers = [(await client.post(CHAT, json=gate.body(max_tokens=1))).status_code for _ in range(requests)]
    assert set(answers) <= {200, 429}
    return answers.count(200)


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(tmp_path: Path) -> None:
    """Not in a tracker by number, but the one that all the others come from: a queue without an end."""

    async def held(client: Client) -> None:
        await client.go.wait()
        await client.answer(200, reply())

    async with (
        scripted(held) as (server,),
        platform(
            tmp_path, [{"model": "scripted", "url": server.url, "slots": 1}], scheduling={"queue_limit": 2, "priority_reserve": 0}
        ) as gate,
    ):
        waiting = [asyncio.create_task(gate.chat()) for _ in range(3)]
        (line,) = await lines(gate)
        await until(lambda: len(line) == 2)
        refused = await gate.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= float(refused.headers["retry-after"]) <= 60
        metrics = (await gate.http.get("/metrics")).text
        assert 'penstock_class_waiting{model="scripted",service_class="enterprise"} 2.0' in metrics
        assert 'penstock_shed_total{reason="full",service_class="enterprise"} 1.0' in metrics
        for count in (1, 2, 3):
            await server.arrived.until(lambda count=count: len(server.requests) == count)  # type: ignore[misc]  # bound at once
            server.requests[-1].go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert 'penstock_class_wait_seconds_count{service_class="enterprise"} 2.0' in (await gate.http.get("/metrics")).text


async def lines(gate: Platform) -> list[Any]:
    await until(lambda: gate.gateway.deps.queues)
    return list(gate.gateway.deps.queues.values())
