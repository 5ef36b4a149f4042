"""Both halves together on the broker in memory: from a record to the published end of its task, and how it ends itself."""

import asyncio
import json
from pathlib import Path

import pytest

from penstock.domain.ports import StreamRefused
from penstock.processes.streams.bridge import Bridge, Ends
from penstock.processes.streams.gateway import Busy, NotAllowed
from penstock.processes.streams.intake import Bounds
from penstock.processes.streams.ledger import Ledger
from penstock.processes.streams.metrics import Metrics
from penstock.processes.streams.results import Pace
from tests.support.waiting import until
from tests.unit.processes.streams.office import NOW, TEMPLATE, Desk, patience


def bridge(desk: Desk, ledger: Ledger) -> Bridge:
    ends = Ends(desk.broker.source("in", "s"), desk.broker.sink("dead"), desk.broker.sink("out"))
    bounds, pace = Bounds(workers=2, batch=5, drain_seconds=1), Pace(look_seconds=0.01)
    return Bridge(ends, desk.office, TEMPLATE, ledger, patience(), bounds, pace)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path, 120.0)


async def test_from_a_record_to_its_result(ledger: Ledger) -> None:
    desk = Desk()
    desk.put(b"0", b"1", b"{", b"2")
    ledger.open()
    whole = bridge(desk, ledger)
    ready = asyncio.Event()
    running = asyncio.create_task(whole.run(ready.set))
    await asyncio.wait_for(ready.wait(), 10)
    await until(lambda: len(desk.settled) == 4, 10)
    for number in range(3):
        desk.office.end(number, NOW - number, result=b"%d" % number)
    await until(lambda: len(desk.broker.topic("out").messages) == 3, 10)
    metrics = {metric.name: metric.samples[0].value for metric in Metrics("s", whole.numbers).collect()}
    whole.stop()
    whole.stop()
    await asyncio.wait_for(running, 10)
    ledger.close()
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


async def test_when_one_half_cannot_go_on_the_other_stops_in_order(ledger: Ledger) -> None:
    desk = Desk()
    desk.office.trouble = lambda _tasks: NotAllowed("The key was revoked.")
    desk.put(b"0")
    ledger.open()
    with pytest.raises(NotAllowed, match="revoked"):
        await asyncio.wait_for(bridge(desk, ledger).run(lambda: None), 10)
    ledger.close()
    assert (desk.held, desk.settled) == (set(), set())


async def test_who_waits_for_a_gateway_still_hears_that_the_broker_will_never_do(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    whole = bridge(desk, ledger)

    async def away(*_: object) -> None:
        raise Busy("nobody is there")

    async def never() -> None:
        raise StreamRefused("wrong password")

    monkeypatch.setattr(desk.office, "over", away)
    monkeypatch.setattr(whole._ends.source, "open", never)
    with pytest.raises(StreamRefused, match="wrong password"):
        await asyncio.wait_for(whole.run(lambda: None), 10)


async def test_stopping_before_anything_is_open(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Busy("nobody is there", 300.0)

    monkeypatch.setattr(desk.office, "over", away)
    whole = bridge(desk, ledger)
    running = asyncio.create_task(whole.run(lambda: pytest.fail("it is not ready")))
    await asyncio.wait_for(asked.wait(), 10)
    whole.stop()
    await asyncio.wait_for(running, 10)
