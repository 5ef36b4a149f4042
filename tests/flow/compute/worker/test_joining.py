"""A worker and its gateway."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.compute.worker import Worker, WorkerPlan
from penstock.net.join_client import JoinRefused
from tests.contract.compute.engines.subjects import within
from tests.flow.compute.worker.fake_gateway import Gateway, free_port, gateway

FAST = {"speed": "1000"}


@pytest.fixture
async def there() -> AsyncIterator[Gateway]:
    async with gateway() as one:
        yield one


def worker(tmp_path: Path, join: str) -> Worker:
    return Worker(WorkerPlan(tmp_path, engine_options=FAST, join=join, token="pjt-x", name="gpu-1", pool="priority", version="9.9"))


async def test_worker_joins_and_sends_heartbeats(there: Gateway, tmp_path: Path) -> None:
    one = worker(tmp_path, there.url)
    await one.open()
    card = await there.hears("join")
    beat = await there.hears("heartbeat")
    await one.drain()
    await one.close()
    assert {name: card[name] for name in ("token", "name", "engine", "base_url", "slots", "pool", "secret", "version")} == {
        "token": "pjt-x",
        "name": "gpu-1",
        "engine": "sim",
        "base_url": one.base_url,
        "slots": 64,
        "pool": "priority",
        "secret": one.secret,
        "version": "9.9",
    }
    assert len(base64.b64decode(card["public_key"])) == 32
    assert [(model["id"], model["context_length"]) for model in card["models"]] == [("sim-small", 32768), ("sim-large", 131072)]
    assert beat == {"running": 0, "waiting": 0, "kv_usage": 0.0, "draining": False}
    await there.hears("heartbeat", draining=True)
    await there.hears("leave")


async def test_worker_started_before_its_gateway_joins_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    one = worker(tmp_path, f"http://127.0.0.1:{port}")
    await one.open()
    await one.presence.changed(0.2)
    async with gateway(port) as late:
        await late.hears("heartbeat")
        await one.close()


async def test_worker_that_the_gateway_forgot_joins_again(there: Gateway, tmp_path: Path) -> None:
    one = worker(tmp_path, there.url)
    await one.open()
    first = await there.hears("join")
    await there.hears("heartbeat")
    there.forgotten = True
    second = await there.hears("join")
    assert second["public_key"] == first["public_key"]
    await there.hears("heartbeat")
    await one.close()


async def test_worker_survives_a_gateway_restart(tmp_path: Path) -> None:
    async with gateway() as first:
        one = worker(tmp_path, first.url)
        await one.open()
        await first.hears("heartbeat")
    await one.presence.changed(0.3)
    async with gateway(first.port) as second:
        await second.hears("heartbeat", seconds=10)
        await one.close()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_join_is_retried_while_the_gateway_is_busy(there: Gateway, tmp_path: Path, status: int) -> None:
    there.join_answers = [(status, {})]
    one = worker(tmp_path, there.url)
    await one.open()
    await there.hears("heartbeat")
    await one.close()


@pytest.mark.parametrize(("status", "body", "said"), [(401, {"detail": "The token has expired."}, "expired"), (422, {}, "HTTP 422")])
async def test_worker_that_the_gateway_refuses_ends_with_the_reason(
    there: Gateway, tmp_path: Path, status: int, body: dict[str, str], said: str
) -> None:
    there.join_answers = [(status, body)]
    one = worker(tmp_path, there.url)
    await one.open()
    assert one.agent_task is not None
    with pytest.raises(JoinRefused, match=said):
        async with asyncio.timeout(5):
            await one.agent_task
    await one.close()


async def test_an_operator_can_drain_and_resume(there: Gateway, tmp_path: Path) -> None:
    one = worker(tmp_path, there.url)
    await one.open()
    there.draining = True
    await there.hears("heartbeat", draining=True)
    drained = one.presence.draining
    there.draining = False
    await there.hears("heartbeat", draining=False)
    assert (drained, one.presence.draining) == (True, False)
    await one.close()


async def test_a_drain_without_a_gateway_is_just_a_drain(tmp_path: Path) -> None:
    async with gateway() as first:
        one = worker(tmp_path, first.url)
        await one.open()
        await first.hears("heartbeat")
    await within(5, one.drain())
    await one.close()
