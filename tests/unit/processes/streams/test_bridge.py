"""Both halves together on the broker in memory: from a record to the published end of its task, and how it endpoints itself."""

import asyncio
import json
from pathlib import Path

import pytest

from penstock.domain.ports import StreamRefused
from penstock.processes.streams.bridge import Bridge, BrokerEndpoints
from penstock.processes.streams.gateway_client import GatewayUnavailable, NotAllowed
from penstock.processes.streams.intake import IntakeLimits
from penstock.processes.streams.metrics import StreamMetrics
from penstock.processes.streams.publication_log import PublicationLog
from penstock.processes.streams.result_publisher import PollTiming
from tests.support.stream_harness import NOW, TEMPLATE, StreamHarness, retrier
from tests.support.waiting import until


def bridge(harness: StreamHarness, publication_log: PublicationLog) -> Bridge:
    endpoints = BrokerEndpoints(harness.broker.source("in", "s"), harness.broker.sink("dead"), harness.broker.sink("out"))
    limits, timing = IntakeLimits(workers=2, batch=5, drain_seconds=1), PollTiming(poll_seconds=0.01)
    return Bridge(endpoints, harness.task_api, TEMPLATE, publication_log, retrier(), limits, timing)


@pytest.fixture
def publication_log(tmp_path: Path) -> PublicationLog:
    return PublicationLog(tmp_path, 120.0)


async def test_record_becomes_a_task_and_its_result_is_published(publication_log: PublicationLog) -> None:
    harness = StreamHarness()
    harness.put(b"0", b"1", b"{", b"2")
    publication_log.open()
    whole = bridge(harness, publication_log)
    ready = asyncio.Event()
    running = asyncio.create_task(whole.run(ready.set))
    await asyncio.wait_for(ready.wait(), 10)
    await until(lambda: len(harness.settled) == 4, 10)
    for number in range(3):
        harness.task_api.end(number, NOW - number, result=b"%d" % number)
    await until(lambda: len(harness.broker.topic("out").messages) == 3, 10)
    metrics = {metric.name: metric.samples[0].value for metric in StreamMetrics("s", whole.counts).collect()}
    whole.stop()
    whole.stop()
    await asyncio.wait_for(running, 10)
    publication_log.close()
    assert sorted(json.loads(message.value)["result"] for message in harness.broker.topic("out").messages) == [0, 1, 2]
    assert metrics == {
        "penstock_stream_refusals": 0,
        "penstock_stream_taken": 4,
        "penstock_stream_created": 3,
        "penstock_stream_repeated": 0,
        "penstock_stream_dead": 1,
        "penstock_stream_in_hand": 0,
        "penstock_stream_published": 3,
    }


async def test_failing_part_stops_the_other_part_in_order(publication_log: PublicationLog) -> None:
    harness = StreamHarness()
    harness.task_api.trouble = lambda _tasks: NotAllowed("The key was revoked.")
    harness.put(b"0")
    publication_log.open()
    with pytest.raises(NotAllowed, match="revoked"):
        await asyncio.wait_for(bridge(harness, publication_log).run(lambda: None), 10)
    publication_log.close()
    assert (harness.held, harness.settled) == (set(), set())


async def test_permanent_broker_error_is_raised_while_the_gateway_is_awaited(
    publication_log: PublicationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = StreamHarness()
    whole = bridge(harness, publication_log)

    async def away(*_: object) -> None:
        raise GatewayUnavailable("nobody is there")

    async def never() -> None:
        raise StreamRefused("wrong password")

    monkeypatch.setattr(harness.task_api, "finished_tasks", away)
    monkeypatch.setattr(whole._endpoints.source, "open", never)
    with pytest.raises(StreamRefused, match="wrong password"):
        await asyncio.wait_for(whole.run(lambda: None), 10)


async def test_stop_before_open_ends_the_bridge(publication_log: PublicationLog, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = StreamHarness()
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise GatewayUnavailable("nobody is there", 300.0)

    monkeypatch.setattr(harness.task_api, "finished_tasks", away)
    whole = bridge(harness, publication_log)
    running = asyncio.create_task(whole.run(lambda: pytest.fail("it is not ready")))
    await asyncio.wait_for(asked.wait(), 10)
    whole.stop()
    await asyncio.wait_for(running, 10)
