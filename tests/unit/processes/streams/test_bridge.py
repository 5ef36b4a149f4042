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
from tests.support.waiting import until
from tests.unit.processes.streams.office import NOW, TEMPLATE, Desk, retrier


def bridge(desk: Desk, publication_log: PublicationLog) -> Bridge:
    endpoints = BrokerEndpoints(desk.broker.source("in", "s"), desk.broker.sink("dead"), desk.broker.sink("out"))
    limits, timing = IntakeLimits(workers=2, batch=5, drain_seconds=1), PollTiming(poll_seconds=0.01)
    return Bridge(endpoints, desk.office, TEMPLATE, publication_log, retrier(), limits, timing)


@pytest.fixture
def publication_log(tmp_path: Path) -> PublicationLog:
    return PublicationLog(tmp_path, 120.0)


async def test_from_a_record_to_its_result(publication_log: PublicationLog) -> None:
    desk = Desk()
    desk.put(b"0", b"1", b"{", b"2")
    publication_log.open()
    whole = bridge(desk, publication_log)
    ready = asyncio.Event()
    running = asyncio.create_task(whole.run(ready.set))
    await asyncio.wait_for(ready.wait(), 10)
    await until(lambda: len(desk.settled) == 4, 10)
    for number in range(3):
        desk.office.end(number, NOW - number, result=b"%d" % number)
    await until(lambda: len(desk.broker.topic("out").messages) == 3, 10)
    metrics = {metric.name: metric.samples[0].value for metric in StreamMetrics("s", whole.counts).collect()}
    whole.stop()
    whole.stop()
    await asyncio.wait_for(running, 10)
    publication_log.close()
    assert sorted(json.loads(message.value)["result"] for message in desk.broker.topic("out").messages) == [0, 1, 2]
    assert metrics == {
        "penstock_stream_refusals": 0,
        "penstock_stream_taken": 4,
        "penstock_stream_created": 3,
        "penstock_stream_repeated": 0,
        "penstock_stream_dead": 1,
        "penstock_stream_in_hand": 0,
        "penstock_stream_published": 3,
    }


async def test_when_one_half_cannot_go_on_the_other_stops_in_order(publication_log: PublicationLog) -> None:
    desk = Desk()
    desk.office.trouble = lambda _tasks: NotAllowed("The key was revoked.")
    desk.put(b"0")
    publication_log.open()
    with pytest.raises(NotAllowed, match="revoked"):
        await asyncio.wait_for(bridge(desk, publication_log).run(lambda: None), 10)
    publication_log.close()
    assert (desk.held, desk.settled) == (set(), set())


async def test_who_waits_for_a_gateway_still_hears_that_the_broker_will_never_do(
    publication_log: PublicationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    whole = bridge(desk, publication_log)

    async def away(*_: object) -> None:
        raise GatewayUnavailable("nobody is there")

    async def never() -> None:
        raise StreamRefused("wrong password")

    monkeypatch.setattr(desk.office, "finished_tasks", away)
    monkeypatch.setattr(whole._endpoints.source, "open", never)
    with pytest.raises(StreamRefused, match="wrong password"):
        await asyncio.wait_for(whole.run(lambda: None), 10)


async def test_stopping_before_anything_is_open(publication_log: PublicationLog, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise GatewayUnavailable("nobody is there", 300.0)

    monkeypatch.setattr(desk.office, "finished_tasks", away)
    whole = bridge(desk, publication_log)
    running = asyncio.create_task(whole.run(lambda: pytest.fail("it is not ready")))
    await asyncio.wait_for(asked.wait(), 10)
    whole.stop()
    await asyncio.wait_for(running, 10)
