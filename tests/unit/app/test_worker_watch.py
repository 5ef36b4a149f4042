"""What the gateway does about a worker that comes, changes, answers and goes; links and probes are replaced by ones that note calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from penstock.app.gateway import worker_watch
from penstock.app.gateway.worker_watch import WorkerWatch, matching
from penstock.compute.engines import Probe, ProbeFailed
from penstock.compute.transport.http import HttpTransport
from penstock.domain.clock import ManualClock
from penstock.domain.workers import ModelOffer, WorkerLoad, WorkerRecord, WorkerState
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.worker_set import RoutingRules, WorkerSet
from tests.unit.app.worker_records import offers, upstream, worker

PROBE_SECONDS = 0.001
OnSign = Callable[[WorkerLoad | None, bool], None]


class Link:
    """A link that is told what the worker says by the test."""

    made: "list[Link]"

    def __init__(
        self, record: WorkerRecord, on_sign: Callable[[WorkerLoad | None, bool], None], on_lost: Callable[[str], None], *_: float
    ) -> None:
        self.record, self.on_sign, self.on_lost = record, on_sign, on_lost
        self.state = "new"
        Link.made.append(self)

    def open(self) -> None:
        self.state = "open"

    def close(self) -> None:
        self.state = "closed"


class Server:
    """What every upstream answers; `asked` are the URLs and secrets."""

    def __init__(self) -> None:
        self.answer: Probe | None = Probe(offers("listed"), "vllm", WorkerLoad(running=2), frozenset({"logit_bias"}))
        self.asked: list[tuple[str, str]] = []
        self.befores: list[Probe | None] = []
        self.probed = asyncio.Event()

    async def probe(self, url: str, secret: str, timeout: float, before: Probe | None = None, **_: object) -> Probe:
        self.asked.append((url, secret))
        self.befores.append(before)
        self.probed.set()
        if self.answer is None:
            raise ProbeFailed("nothing there")
        return self.answer

    async def until_probed(self, times: int) -> None:
        async with asyncio.timeout(10):
            for _ in range(times):
                self.probed.clear()
                await self.probed.wait()


class Transport(HttpTransport):
    """Notes whose connections were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def forget(self, worker_id: str) -> None:
        self.forgotten.append(worker_id)


class Watched:
    def __init__(self) -> None:
        self.server = Server()
        self.transport = Transport()
        self.fleet = WorkerSet(RoutingPolicies(Random(1)), RoutingRules(), ManualClock())
        self.watch = WorkerWatch(self.fleet, self.transport, 1.0, PROBE_SECONDS)

    def models(self, worker_id: str) -> tuple[ModelOffer, ...] | None:
        member = self.fleet.member(worker_id)
        return None if member is None else member.record.models

    def state(self, worker_id: str) -> WorkerState:
        member = self.fleet.member(worker_id)
        assert member is not None
        return member.state


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    one = Watched()
    Link.made = []
    monkeypatch.setattr(worker_watch, "WorkerLink", Link)
    monkeypatch.setattr(worker_watch, "probe", one.server.probe)
    yield one
    await one.watch.close()


async def test_a_new_worker_gets_a_link_and_is_ready_after_its_first_sign(watched: Watched) -> None:
    watched.watch.put(worker())
    (link,) = Link.made
    assert (link.state, watched.state("wrk_a")) == ("open", WorkerState.JOINING)
    link.on_sign(WorkerLoad(running=3), False)
    member = watched.fleet.member("wrk_a")
    assert member is not None
    assert (member.state, member.load) == (WorkerState.READY, WorkerLoad(running=3))


async def test_a_worker_that_says_it_drains_gets_nothing_new(watched: Watched) -> None:
    watched.watch.put(worker())
    Link.made[0].on_sign(None, True)
    assert watched.state("wrk_a") is WorkerState.DRAINING


async def test_a_lost_link_makes_its_worker_suspect_and_no_other(watched: Watched) -> None:
    for worker_id in ("wrk_a", "wrk_b"):
        watched.watch.put(worker(worker_id))
    for link in Link.made:
        link.on_sign(None, False)
    Link.made[0].on_lost("[Errno 111] Connection refused")
    assert (watched.state("wrk_a"), watched.state("wrk_b")) == (WorkerState.SUSPECT, WorkerState.READY)


@pytest.mark.parametrize(
    ("changes", "links"),
    [({"name": "other"}, 1), ({"slots": 9}, 1), ({"base_url": "http://127.0.0.1:2"}, 2), ({"secret": "another"}, 2)],
    ids=["name", "slots", "address", "secret"],
)
async def test_an_edited_worker_is_dialed_again_only_when_its_address_or_secret_changed(
    watched: Watched, changes: dict[str, Any], links: int
) -> None:
    watched.watch.put(worker())
    edited = worker(**changes)
    watched.watch.put(edited)
    assert [link.state for link in Link.made] == ["closed"] * (links - 1) + ["open"]
    assert (Link.made[-1].record == edited) is (links == 2)
    member = watched.fleet.member("wrk_a")
    assert member is not None
    assert member.record == edited


async def test_a_removed_worker_leaves_no_link_and_no_connection(watched: Watched) -> None:
    watched.watch.put(worker())
    watched.watch.remove("wrk_a")
    assert Link.made[0].state == "closed"
    assert watched.transport.forgotten == ["wrk_a"]
    assert watched.fleet.members() == []


async def test_removing_an_unknown_worker_does_nothing(watched: Watched) -> None:
    watched.watch.remove("wrk_none")
    assert watched.fleet.members() == []


async def test_replacing_all_removes_what_is_gone_and_keeps_what_only_this_process_knows(watched: Watched) -> None:
    for worker_id in ("wrk_a", "wrk_b", "wrk_own"):
        watched.watch.put(worker(worker_id))
    watched.watch.replace_all([worker("wrk_b", slots=7), worker("wrk_c")], frozenset({"wrk_own"}))
    assert {member.id: member.record.slots for member in watched.fleet.members()} == {"wrk_b": 7, "wrk_own": 4, "wrk_c": 4}
    assert watched.transport.forgotten == ["wrk_a"]


async def test_an_upstream_is_probed_with_its_secret_and_serves_what_it_lists(watched: Watched) -> None:
    watched.watch.put(upstream(models=()))
    await watched.server.until_probed(2)
    assert Link.made == []
    assert set(watched.server.asked) == {("http://127.0.0.1:1/ups_a", "s3cret")}
    member = watched.fleet.member("ups_a")
    assert member is not None
    assert (member.record.models, member.state, member.load) == (offers("listed"), WorkerState.READY, WorkerLoad(running=2))
    assert member.unsupported == frozenset({"logit_bias"})


async def test_each_probe_is_given_the_one_before_also_over_a_failure(watched: Watched) -> None:
    first = watched.server.answer
    watched.watch.put(upstream())
    await watched.server.until_probed(2)
    watched.server.answer = None
    await watched.server.until_probed(3)
    assert watched.server.befores[0] is None
    assert watched.server.befores[-1] is first


async def test_an_upstream_that_does_not_answer_is_asked_again_and_not_ready(watched: Watched) -> None:
    watched.server.answer = None
    watched.watch.put(upstream())
    await watched.server.until_probed(3)
    assert watched.state("ups_a") is WorkerState.JOINING


async def test_a_reload_of_the_store_does_not_forget_what_an_upstream_lists(watched: Watched) -> None:
    """The store keeps what the operator named (nothing: every model); until the next probe the upstream goes on serving."""
    record = upstream(models=())
    watched.watch.put(record)
    await watched.server.until_probed(2)
    watched.server.answer = None
    watched.watch.put(replace(record, slots=9))
    assert watched.models("ups_a") == offers("listed")


async def test_models_that_the_operator_names_go_before_those_that_were_listed(watched: Watched) -> None:
    watched.watch.put(upstream(models=()))
    await watched.server.until_probed(2)
    watched.watch.put(upstream(models=offers("named")))
    assert watched.models("ups_a") == offers("named")


async def test_a_removed_upstream_is_not_probed_any_more(watched: Watched) -> None:
    watched.watch.put(upstream())
    await watched.server.until_probed(1)
    watched.watch.remove("ups_a")
    asked = len(watched.server.asked)
    watched.watch.put(upstream("ups_b"))
    await watched.server.until_probed(3)
    assert {url for url, _ in watched.server.asked[asked:]} == {"http://127.0.0.1:1/ups_b"}


async def test_closing_closes_every_link(watched: Watched) -> None:
    for worker_id in ("wrk_a", "wrk_b"):
        watched.watch.put(worker(worker_id))
    watched.watch.open()
    await watched.watch.close()
    assert [link.state for link in Link.made] == ["closed", "closed"]


@pytest.mark.parametrize(
    ("wanted", "listed", "served"),
    [
        (offers(), offers("a", "b"), offers("a", "b")),
        (offers("a"), (ModelOffer("a", "", 4096, ("chat",)), ModelOffer("b")), (ModelOffer("a", "", 4096, ("chat",)),)),
        (offers("gpt"), (ModelOffer("org/real", "", 8192, ("chat",)),), (ModelOffer("gpt", "org/real", 8192, ("chat",)),)),
        (offers("gpt"), offers("a", "b"), offers("gpt")),
        ((ModelOffer("gpt", "b"),), (ModelOffer("a"), ModelOffer("b", "", 100)), (ModelOffer("gpt", "b", 100),)),
        ((ModelOffer("gpt", "c"),), offers("a"), (ModelOffer("gpt", "c"),)),
        (offers("a", "gpt"), offers("a"), (ModelOffer("a"), ModelOffer("gpt", "a"))),
    ],
    ids=["everything", "by name", "the only other", "not among several", "by engine name", "absent engine name", "one beside its alias"],
)
def test_wanted_models_are_filled_in_with_what_the_server_lists(
    wanted: tuple[ModelOffer, ...], listed: tuple[ModelOffer, ...], served: tuple[ModelOffer, ...]
) -> None:
    assert matching(wanted, listed) == served
