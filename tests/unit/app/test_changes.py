"""Which edits reach which subscriber of the change feed, in which order, and what happens when one of them fails."""

import asyncio
from collections.abc import Iterable

import pytest

from penstock.app.gateway.changes import EVERY_SUBJECT, ChangePoll, Reload
from penstock.domain.clock import ManualClock
from penstock.domain.errors import PortUnavailable
from penstock.domain.ports import Changes

POLL_SECONDS = 0.001


class ScriptedFeed:
    """Answers from a list of edits; `asked` are the versions that it was asked about."""

    def __init__(self) -> None:
        self.edits: list[tuple[str, str]] = []
        self.asked: list[int] = []
        self.gone = False
        self.answered = asyncio.Event()

    async def since(self, version: int) -> Changes:
        self.asked.append(version)
        self.answered.set()
        if self.gone:
            raise PortUnavailable("the store is gone")
        return Changes(len(self.edits), frozenset(self.edits[version:]))


class Subscribers:
    """A poll whose subscribers write down their calls."""

    def __init__(self, *kinds: str) -> None:
        self.feed = ScriptedFeed()
        self.clock = ManualClock()
        self.calls: list[tuple[str, frozenset[str]]] = []
        self.confirmed: list[float] = []
        self.failure: Exception | None = None
        self.poll = ChangePoll(self.feed, self.clock, POLL_SECONDS, self.confirmed.append)
        for kind in kinds:
            self.poll.subscribe(kind, self.reload(kind))

    def reload(self, kind: str) -> Reload:
        async def call(subjects: frozenset[str]) -> None:
            self.calls.append((kind, subjects))
            if kind == "failing" and self.failure is not None:
                raise self.failure

        return call

    async def ask(self, *edits: tuple[str, str]) -> list[tuple[str, frozenset[str]]]:
        """The calls that one round makes."""
        self.feed.edits += edits
        self.calls.clear()
        await self.poll.ask()
        return list(self.calls)


def ids(*subjects: str) -> frozenset[str]:
    return frozenset(subjects)


def edits(kind: str, subjects: Iterable[str]) -> list[tuple[str, str]]:
    return [(kind, subject) for subject in subjects]


async def test_only_the_edited_kind_is_reloaded_with_all_its_ids_at_once() -> None:
    subscribers = Subscribers("model", "worker")
    assert await subscribers.ask(*edits("worker", ("wrk_a", "wrk_b")), ("plan", "free")) == [("worker", ids("wrk_a", "wrk_b"))]


async def test_two_kinds_in_one_answer_each_run_once_in_the_order_of_subscription() -> None:
    subscribers = Subscribers("key", "policy", "model", "worker")
    answer = [*edits("worker", ("wrk_a",)), *edits("policy", ("1", "2")), *edits("worker", ("wrk_b",))]
    assert await subscribers.ask(*answer) == [("policy", ids("1", "2")), ("worker", ids("wrk_a", "wrk_b"))]


async def test_two_subscribers_of_one_kind_are_both_called() -> None:
    subscribers = Subscribers("plan", "plan")
    assert await subscribers.ask(("plan", "free")) == [("plan", ids("free"))] * 2


async def test_the_id_star_means_every_subject_also_beside_named_ones() -> None:
    subscribers = Subscribers("key", "model")
    assert await subscribers.ask(("key", "*"), ("key", "key_a"), ("model", "m")) == [("key", EVERY_SUBJECT), ("model", ids("m"))]


async def test_an_answer_is_told_once_and_the_next_question_starts_at_its_version() -> None:
    subscribers = Subscribers("model")
    await subscribers.ask(("model", "a"), ("model", "b"))
    assert await subscribers.ask() == []
    assert subscribers.feed.asked == [0, 2]


async def test_a_round_is_confirmed_with_the_time_of_its_question() -> None:
    subscribers = Subscribers("model")

    async def slow(_: frozenset[str]) -> None:
        subscribers.clock.advance(5.0)

    subscribers.poll.subscribe("worker", slow)
    asked_at = subscribers.clock.monotonic()
    await subscribers.ask(("worker", "wrk_a"))
    assert subscribers.confirmed == [asked_at]


async def test_after_a_failing_reload_the_same_edits_are_told_again_and_nothing_is_confirmed() -> None:
    subscribers = Subscribers("key", "failing", "worker")
    subscribers.failure = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await subscribers.ask(("key", "key_a"), ("failing", "x"), ("worker", "wrk_a"))
    assert subscribers.calls == [("key", ids("key_a")), ("failing", ids("x"))]
    assert subscribers.confirmed == []
    subscribers.failure = None
    assert await subscribers.ask() == [("key", ids("key_a")), ("failing", ids("x")), ("worker", ids("wrk_a"))]
    assert len(subscribers.confirmed) == 1


async def test_opening_loads_every_kind_once_before_the_first_question() -> None:
    subscribers = Subscribers("policy", "model")
    subscribers.feed.edits += edits("model", ("a", "b", "c"))
    await subscribers.poll.open()
    try:
        assert subscribers.calls == [("policy", EVERY_SUBJECT), ("model", EVERY_SUBJECT)]
        assert subscribers.feed.asked == [0]
    finally:
        await subscribers.poll.close()


@pytest.mark.parametrize("failure", [ValueError("a mistake"), PortUnavailable("gone")])
async def test_an_open_poll_goes_on_asking_after_a_failure(failure: Exception) -> None:
    subscribers = Subscribers("failing")
    await subscribers.poll.open()
    try:
        subscribers.failure = failure
        subscribers.feed.edits.append(("failing", "x"))
        async with asyncio.timeout(10):
            for _ in range(3):
                subscribers.feed.answered.clear()
                await subscribers.feed.answered.wait()
        assert subscribers.feed.asked[-1] == 0
    finally:
        await subscribers.poll.close()


async def test_the_store_is_unreachable_from_a_failed_question_until_an_answered_one() -> None:
    subscribers = Subscribers()
    await subscribers.poll.open()
    try:
        reachable = [subscribers.poll.reachable]
        for gone in (True, False):
            subscribers.feed.gone = gone
            async with asyncio.timeout(10):
                for _ in range(3):  # the third question comes after the second one was noted
                    subscribers.feed.answered.clear()
                    await subscribers.feed.answered.wait()
            reachable.append(subscribers.poll.reachable)
        assert reachable == [True, False, True]
    finally:
        await subscribers.poll.close()
