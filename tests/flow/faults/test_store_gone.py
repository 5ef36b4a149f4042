"""The store goes away and comes back: what runs goes on, what needs it says so, and no usage is lost or counted twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import Store
from tests.support.gateway import CHAT, Client, Platform, ScriptedServer, full_stream, platform, raw

ADMISSION = {"change_poll_seconds": 0.05}


PARTS = ("accounts", "batches", "catalog", "changes", "decisions", "files", "ledger", "policies", "responses", "workers")


PARTS = ("accounts", "batches", "catalog", "changes", "decisions", "files", "ledger", "policies", "responses", "workers")


class Unplugged:
    """A store whose plug can be pulled: before a call, or after it was carried out and before its answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gone = False
        self.answers_lost = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if name in PARTS:
            return UnpluggedPart(self, value)
        if name in ("open", "close") or not callable(value):
            return value
        return self.guarded(value)

    def guarded(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: Any, **named: Any) -> Any:
            if self.gone:
                raise PortUnavailable("unplugged")
            answer = await call(*arguments, **named)
            if self.answers_lost:
                raise PortUnavailable("unplugged in the middle of it")
            return answer

        return guarded


class UnpluggedPart:
    """One area of an unplugged store."""

    def __init__(self, store: Unplugged, part: object) -> None:
        self._store = store
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return self._store.guarded(getattr(self._part, name))


def plug(gate: Platform) -> Unplugged:
    store: object = gate.gateway.store
    assert isinstance(store, Unplugged)
    return store


def unplugged(store: Store) -> Store:
    return cast("Store", Unplugged(store))


async def ready(gate: Platform, expected: int) -> httpx.Response:
    response = None
    async with asyncio.timeout(5.0):
        while response is None or response.status_code != expected:
            response = await gate.http.get("/readyz")
    return response


@pytest.mark.fault("Store gone under traffic", "known keys are served, usage waits, each request is counted once")
async def test_traffic_goes_on_and_everything_is_counted_once(server: ScriptedServer, tmp_path: Path) -> None:
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        for _ in range(3):
            assert (await gate.chat()).status_code == 200
        plug(gate).gone = True
        assert "store" in (await ready(gate, 503)).json()["problems"][0]
        assert (await gate.http.get("/livez")).status_code == 200
        for stream in (False, True, False):
            assert (await gate.chat(stream=stream)).status_code == 200
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.backlog > 0)
        plug(gate).gone = False
        await ready(gate, 200)
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.backlog == 0)
        records = await gate.records()
        assert len({record.request_id for record in records}) == len(records) == 6
        await gate.until_quiet()


async def test_a_running_stream_does_not_notice(server: ScriptedServer, tmp_path: Path) -> None:
    async def waits(client: Client) -> None:
        await client.begin_stream(x_penstock_prompt_tokens="3")
        first, *rest = full_stream(4)
        await client.chunk(first)
        await client.go.wait()
        for one in rest:
            await client.chunk(one)
        await client.end_stream()

    server.script = waits
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate, raw(gate.port) as client:
        await client.send(gate.request(stream=True))
        await client.reader.readuntil(b"t0")
        plug(gate).gone = True
        await ready(gate, 503)
        server.requests[0].go.set()
        await client.reader.readuntil(b"data: [DONE]\n\n")
        plug(gate).gone = False
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.written == 1)
        (record,) = await gate.records()
        assert record.completion_tokens == 4


async def test_a_key_that_was_never_seen_must_wait(server: ScriptedServer, tmp_path: Path) -> None:
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        plug(gate).gone = True
        response = await gate.chat()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["x-request-id"]
        wrong = await gate.http.post(CHAT, json=gate.body(), headers={"authorization": "Bearer sk-no-key-at-all"})
        assert wrong.status_code == 401, "this can be told without asking"
        plug(gate).gone = False
        assert (await gate.chat()).status_code == 200, "the failure is not remembered"


async def test_known_keys_are_believed_for_a_while_and_no_longer(server: ScriptedServer, tmp_path: Path) -> None:
    """Nobody can know what was revoked meanwhile."""
    grace = {**ADMISSION, "store_grace_seconds": 1.0}
    async with platform(tmp_path, [server.url], admission=grace, store=unplugged) as gate:
        assert (await gate.chat()).status_code == 200
        plug(gate).gone = True
        began = time.monotonic()
        status = 200
        async with asyncio.timeout(5.0):
            while status == 200:
                status = (await gate.chat()).status_code
        assert status == 503
        assert time.monotonic() - began > 0.8
        plug(gate).gone = False
        await ready(gate, 200)
        assert (await gate.chat()).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/keys"), ("POST", "/api/keys"), ("GET", "/api/usage"), ("GET", "/api/workers")])
async def test_the_control_api_says_so(server: ScriptedServer, tmp_path: Path, method: str, path: str) -> None:
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        assert (await gate.chat()).status_code == 200
        plug(gate).gone = True
        response = await gate.http.request(method, path, json={"name": "x"} if method == "POST" else None)
        assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
        assert (response.json()["code"], int(response.headers["retry-after"]) >= 1) == ("store_unavailable", True)


@pytest.mark.fault("Ledger writes and its answer is lost", "the batch is counted once")
async def test_a_batch_whose_answer_was_lost_is_not_counted_twice(server: ScriptedServer, tmp_path: Path) -> None:
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        assert (await gate.chat()).status_code == 200
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.written == 1)
        plug(gate).answers_lost = True
        for _ in range(5):
            assert (await gate.chat()).status_code == 200
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.backlog > 0)
        plug(gate).answers_lost = False
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.backlog == 0)
        assert len(await gate.records()) == 6
        report = (await gate.http.get("/api/usage")).json()
        assert (report["totals"]["requests"], report["totals"]["completion_tokens"]) == (6, 6)


async def test_revocation_written_while_the_store_was_unreachable_counts_at_once(server: ScriptedServer, tmp_path: Path) -> None:
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        made = (await gate.http.post("/api/keys", json={"name": "short"})).json()
        short = {"authorization": f"Bearer {made['secret']}"}
        newest = (await gate.gateway.store.changes.since(0)).version
        await gate.gateway.changes.followed.until(lambda: gate.gateway.changes._version == newest)  # the news of the new key itself
        assert (await gate.http.post(CHAT, json=gate.body(), headers=short)).status_code == 200
        plug(gate).gone = True
        await ready(gate, 503)
        await plug(gate)._store.accounts.revoke_key(made["id"], time.time())
        assert (await gate.http.post(CHAT, json=gate.body(), headers=short)).status_code == 200
        plug(gate).gone = False
        await ready(gate, 200)
        response = await gate.http.post(CHAT, json=gate.body(), headers=short)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_restart_while_usage_waits(server: ScriptedServer, tmp_path: Path) -> None:
    """The gateway stops with a ledger that is away: the files keep what it could not hand over."""
    async with platform(tmp_path, [server.url], admission=ADMISSION, store=unplugged) as gate:
        assert (await gate.chat()).status_code == 200
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.written == 1)
        plug(gate).gone = True
        for _ in range(3):
            assert (await gate.chat()).status_code == 200
    async with platform(tmp_path, [server.url]) as gate:
        await gate.gateway.journal.flushed.until(lambda: gate.gateway.journal.backlog == 0)
        assert len(await gate.records()) == 4
