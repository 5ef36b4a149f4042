"""The waiting line: nobody is lost or served twice, the bound holds, urgent classes go first, deadlines are kept."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import DeadlineExceeded, RateLimited
from penstock.domain.principal import Pool, ServiceClass
from penstock.scheduling.line import Line

STANDARD, PRIORITY = (Pool.STANDARD,), (Pool.PRIORITY, Pool.STANDARD)


@dataclass(eq=False)
class Entry:
    name: int = 0
    service_class: ServiceClass = ServiceClass.FREE
    pools: tuple[Pool, ...] = STANDARD
    queued_at: float = 0.0
    give_up_at: float = 100.0
    left: bool = False


def serve(line: Line, room: int, now: float = 0.0, only: Callable[[Entry], bool] = lambda entry: True) -> list[Entry]:
    """Those who were placed while there was room."""
    served: list[Entry] = []

    def place(entry: object) -> bool:
        assert isinstance(entry, Entry)
        if len(served) >= room or not only(entry):
            return False
        served.append(entry)
        return True

    line.serve(place, now)
    return served


def joined(line: Line, *entries: Entry) -> list[Entry]:
    for entry in entries:
        line.join(entry, 0.0)
    return list(entries)


def test_first_come_first_served_within_a_class() -> None:
    line = Line(10)
    entries = joined(line, *(Entry(number) for number in range(5)))
    assert serve(line, 2) == entries[:2]
    assert serve(line, 9) == entries[2:]
    assert len(line) == 0


def test_classes_go_in_order() -> None:
    line = Line(10)
    batch, free, system = joined(line, *(Entry(service_class=one) for one in (ServiceClass.BATCH, ServiceClass.FREE, ServiceClass.SYSTEM)))
    assert serve(line, 3) == [system, free, batch]


def test_who_waits_for_a_pool_does_not_hold_up_those_beside_it() -> None:
    line = Line(10)
    _, second = joined(line, Entry(1), Entry(2, pools=PRIORITY))
    assert serve(line, 9, only=lambda entry: entry.pools == PRIORITY) == [second]
    assert len(line) == 1


def test_a_full_line_refuses_with_a_time_to_come_back() -> None:
    line = Line(2)
    joined(line, Entry(), Entry())
    with pytest.raises(RateLimited) as caught:
        line.join(Entry(), 0.0)
    assert 1.0 <= (caught.value.retry_after_seconds or 0) <= 30.0
    assert len(line) == 2


def test_who_left_is_not_served_and_makes_room() -> None:
    line = Line(2)
    first, second = joined(line, Entry(1), Entry(2))
    line.leave(first)
    line.leave(first)
    assert len(line) == 1
    (third,) = joined(line, Entry(3))
    assert serve(line, 9) == [second, third]


def test_overdue_entries_are_taken_out() -> None:
    line = Line(10)
    late, other = joined(line, Entry(1, give_up_at=5.0), Entry(2, give_up_at=50.0))
    assert line.overdue(4.9) == []
    assert line.overdue(5.0) == [late]
    assert line.overdue(5.0) == []
    assert serve(line, 9) == [other]


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    line = Line(100)
    joined(line, *(Entry(number) for number in range(20)))
    for second in range(10):  # one a second
        serve(line, 1, float(second))
    assert line.expected_wait(9.0) == pytest.approx(9.0, rel=0.2)
    with pytest.raises(DeadlineExceeded):
        line.join(Entry(give_up_at=12.0), 9.0)
    line.join(Entry(give_up_at=30.0), 9.0)


def test_nobody_is_refused_on_a_guess() -> None:
    line = Line(100)
    joined(line, *(Entry(number) for number in range(20)))
    line.join(Entry(give_up_at=0.001), 0.0)
    assert line.expected_wait(0.0) == 0.0
    serve(line, 5, 0.0)
    assert line.expected_wait(60.0) == 0.0, "what was long ago tells nothing"


def test_an_entry_that_must_wait_again_is_not_lost() -> None:
    """Its worker failed while it was being placed."""
    line = Line(10)
    first, second = joined(line, Entry(1), Entry(2))
    tries: list[Entry] = []

    def fails_at_once(entry: object) -> bool:
        assert isinstance(entry, Entry)
        tries.append(entry)
        if len(tries) == 1:
            entry.left = False
            line.join(entry, 0.0)
        return True

    line.serve(fails_at_once, 0.0)
    assert tries == [first, second, first]
    assert len(line) == 0


def test_empty_takes_everybody_out() -> None:
    line = Line(10)
    entries = joined(line, Entry(1), Entry(2, ServiceClass.SYSTEM), Entry(3))
    line.leave(entries[0])
    assert set(line.empty()) == {entries[1], entries[2]}
    assert (len(line), line.empty(), serve(line, 9)) == (0, [], [])


STEP = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(ServiceClass), st.sampled_from([STANDARD, PRIORITY]), st.integers(1, 30)),
    st.tuples(st.just("serve"), st.integers(0, 4), st.booleans(), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 50), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 5), st.just(0), st.just(0)),
)


@given(st.lists(STEP, max_size=80), st.integers(1, 8))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int, object, int]], limit: int) -> None:
    line, now = Line(limit), 0.0
    waiting: list[Entry] = []
    ended: list[Entry] = []
    for number, (kind, first, second, third) in enumerate(steps):
        if kind == "join":
            assert isinstance(first, ServiceClass)
            entry = Entry(number, first, PRIORITY if second == PRIORITY else STANDARD, now, now + third)
            try:
                line.join(entry, now)
            except RateLimited:
                assert len(waiting) == limit
            except DeadlineExceeded:
                assert line.expected_wait(now) > third
            else:
                waiting.append(entry)
        elif kind == "serve":
            served = serve(line, first, now, only=lambda entry, priority=second: not priority or entry.pools == PRIORITY)  # type: ignore[misc]
            for entry in served:
                # No other entry of its lane had waited longer, and no more urgent one of its pools waits behind.
                lane = [one for one in waiting if (one.service_class, one.pools) == (entry.service_class, entry.pools)]
                assert lane[0] is entry
                waiting.remove(entry)
            ended += served
        elif kind == "leave" and waiting:
            entry = waiting.pop(first % len(waiting))
            line.leave(entry)
            ended.append(entry)
        else:
            now += first
            late = [one for one in line.overdue(now) if isinstance(one, Entry)]
            assert set(late) == {one for one in waiting if one.give_up_at <= now}
            waiting = [one for one in waiting if one not in late]
            ended += late
        assert len(line) == len(waiting) <= limit
    assert len(ended) == len(set(ended))
    assert set(line.empty()) == set(waiting)
