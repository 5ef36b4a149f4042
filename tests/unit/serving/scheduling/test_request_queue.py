"""The waiting line: nobody is lost or served twice, its bounds hold, deadlines are kept, no free slot stays idle."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import DeadlineExceeded, RateLimited
from penstock.domain.principal import ServiceClass
from penstock.serving.scheduling.counters import ShedReason
from penstock.serving.scheduling.request_queue import RequestQueue
from penstock.serving.scheduling.rules import RULES, QueueRules
from tests.unit.serving.scheduling.entries import PRIORITY, STANDARD, Entry, joined, offer, serve


def test_first_come_first_served_within_a_class() -> None:
    queue = RequestQueue(10)
    entries = joined(queue, *(Entry(number) for number in range(5)))
    assert serve(queue, 2) == entries[:2]
    assert serve(queue, 9) == entries[2:]
    assert len(queue) == 0


def test_of_classes_that_have_had_nothing_yet_the_heavier_is_first() -> None:
    queue = RequestQueue(10)
    batch, free, system = joined(queue, *(Entry(service_class=one) for one in (ServiceClass.BATCH, ServiceClass.FREE, ServiceClass.SYSTEM)))
    assert serve(queue, 3) == [system, free, batch]


def test_inside_a_tenant_the_earliest_deadline_is_first() -> None:
    queue = RequestQueue(10)
    late, early, also_early = joined(queue, Entry(1, give_up_at=50.0), Entry(2, give_up_at=20.0), Entry(3, give_up_at=20.0))
    assert serve(queue, 9) == [early, also_early, late]


def test_who_waits_for_a_pool_does_not_hold_up_those_beside_it() -> None:
    queue = RequestQueue(10)
    _, second = joined(queue, Entry(1), Entry(2, pools=PRIORITY))
    assert serve(queue, 9, only=lambda entry: entry.pools == PRIORITY) == [second]
    assert len(queue) == 1


def test_who_may_not_use_the_free_worker_does_not_hold_up_those_who_may() -> None:
    queue = RequestQueue(10)
    retried, fresh = joined(queue, Entry(1, excluded=frozenset({"a"})), Entry(2))
    assert serve(queue, 9, only=lambda entry: "a" not in entry.excluded) == [fresh]
    assert serve(queue, 9) == [retried]


def test_a_place_that_was_not_to_be_had_changes_nothing() -> None:
    queue = RequestQueue(100)
    entries = joined(queue, *(Entry(number, ServiceClass(number % 5), org_id=f"org {number % 3}") for number in range(60)))
    for _ in range(5):
        assert serve(queue, 0) == []
    other = RequestQueue(100)
    twins = joined(other, *(Entry(number, ServiceClass(number % 5), org_id=f"org {number % 3}") for number in range(60)))
    assert [entries.index(one) for one in serve(queue, 60)] == [twins.index(one) for one in serve(other, 60)]


@pytest.mark.parametrize("service_class", ServiceClass)
def test_each_class_has_its_bound(service_class: ServiceClass) -> None:
    queue = RequestQueue(2000)
    joined(queue, *(Entry(number, service_class) for number in range(RULES.bounds[service_class])))
    with pytest.raises(RateLimited):
        queue.enqueue(Entry(service_class=service_class), 0.0)
    joined(queue, *(Entry(service_class=each) for each in ServiceClass if each is not service_class))


def test_a_full_class_gives_a_place_of_the_longest_tenant_to_one_with_less() -> None:
    queue = RequestQueue(4)
    noisy = joined(queue, *(Entry(number, org_id="noisy") for number in range(4)))
    quiet = joined(queue, Entry(org_id="quiet"), Entry(org_id="quiet"))
    assert [one.error is not None for one in noisy] == [False, False, True, True]
    assert all(isinstance(one.error, RateLimited) and one.error.retry_after_seconds for one in noisy[2:])
    for org_id in ("noisy", "quiet"):
        with pytest.raises(RateLimited):
            queue.enqueue(Entry(org_id=org_id), 0.0)
    assert set(serve(queue, 9)) == {*noisy[:2], *quiet}


@pytest.mark.parametrize("service_class", ServiceClass)
def test_who_has_waited_too_long_is_promoted(service_class: ServiceClass) -> None:
    """Nothing else would serve it: its deadline is the last, it costs very much, and there is always somebody of the system."""
    queue, patience = RequestQueue(5000), RULES.patience_seconds[service_class]
    (old,) = joined(queue, Entry(0, service_class, give_up_at=1e9, max_tokens=10**9, org_id="other"))
    for seconds in (patience - 0.1, patience):
        joined(queue, *(Entry(number, ServiceClass.SYSTEM, queued_at=seconds, give_up_at=1e8, org_id="other") for number in range(20)))
        served = serve(queue, 10, seconds)
        assert (old in served) == (seconds == patience)


def test_the_promoted_do_not_take_more_than_every_fourth_slot() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, ServiceClass.FREE) for number in range(50)))
    joined(queue, *(Entry(number, ServiceClass.ENTERPRISE, queued_at=60.0) for number in range(50)))
    served = serve(queue, 40, 60.0)
    assert 10 <= sum(one.service_class is ServiceClass.FREE for one in served) <= 13


def test_a_full_line_refuses_with_a_time_to_come_back() -> None:
    queue = RequestQueue(2)
    joined(queue, Entry(), Entry())
    with pytest.raises(RateLimited) as caught:
        queue.enqueue(Entry(), 0.0)
    assert 1.0 <= (caught.value.retry_after_seconds or 0) <= 30.0
    assert len(queue) == 2


def test_who_left_is_not_served_and_makes_room() -> None:
    queue = RequestQueue(2)
    first, second = joined(queue, Entry(1), Entry(2))
    queue.withdraw(first)
    queue.withdraw(first)
    assert len(queue) == 1
    (third,) = joined(queue, Entry(3))
    assert serve(queue, 9) == [second, third]


def test_overdue_entries_are_taken_out() -> None:
    queue = RequestQueue(10)
    late, other = joined(queue, Entry(1, give_up_at=5.0), Entry(2, give_up_at=50.0))
    assert queue.drop_expired(4.9) == []
    assert queue.drop_expired(5.0) == [late]
    assert queue.drop_expired(5.0) == []
    assert serve(queue, 9) == [other]


def test_who_was_overtaken_by_heavier_classes_is_told_before_its_deadline() -> None:
    """Ten a second, and all ten seemed to be free's; then enterprise comes, and most of free would wait past its deadline."""
    queue = RequestQueue(200)
    free = joined(queue, *(Entry(number, give_up_at=8.0) for number in range(40)))
    for tenth in range(1, 11):
        serve(queue, 1, tenth / 10)
    assert queue.drop_unreachable_deadlines(1.0) == []
    joined(queue, *(Entry(100 + number, ServiceClass.ENTERPRISE, queued_at=1.0, give_up_at=6.0) for number in range(20)))
    told = queue.drop_unreachable_deadlines(1.0)
    assert {entry for entry, _ in told} < set(free[10:])
    assert 20 <= len(told) <= 29
    assert all(isinstance(error, DeadlineExceeded) and error.retry_after_seconds for _, error in told)
    assert queue.class_counters[ServiceClass.FREE].shed == {ShedReason.OVERTAKEN: len(told)}
    assert queue.drop_unreachable_deadlines(1.0) == []
    assert queue.waiting(ServiceClass.ENTERPRISE) == 20


def test_who_is_a_little_late_by_an_estimate_stays() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, give_up_at=12.0) for number in range(22)))
    for second in range(10):  # one a second: the last one would be served at 21 seconds
        serve(queue, 1, float(second))
    assert len(queue.drop_unreachable_deadlines(9.0)) < 8
    assert len(queue) >= 5


def test_of_a_tenant_with_much_in_line_goes_more_than_of_one_with_little() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, org_id="much", give_up_at=12.0) for number in range(40)))
    for second in range(10):
        serve(queue, 1, float(second))
    queue.enqueue(Entry(90, org_id="little", give_up_at=12.0), 9.0)
    assert {entry.org_id for entry, _ in queue.drop_unreachable_deadlines(9.0)} == {"much"}


def test_slots_that_were_idle_do_not_make_the_line_look_slow() -> None:
    """Now and then one had to wait for a moment; when several come together, nobody is told that he would wait for seconds."""
    queue = RequestQueue(100)
    for second in range(10):
        joined(queue, Entry(second, queued_at=float(second), give_up_at=second + 5.0))
        serve(queue, 1, second + 0.01)
    joined(queue, *(Entry(20 + number, queued_at=9.5, give_up_at=14.5) for number in range(8)))
    assert queue.expected_wait(9.5) == 0.0


def test_the_pace_of_the_last_rush_counts_at_the_beginning_of_the_next_for_a_minute() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number) for number in range(10)))
    for second in range(10):  # one a second, until nobody waits
        serve(queue, 1, float(second))
    joined(queue, *(Entry(20 + number, queued_at=30.0, give_up_at=200.0) for number in range(5)))
    assert queue.expected_wait(30.0) == pytest.approx(5.0, rel=0.2)
    assert queue.expected_wait(80.0) == 0.0


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number, give_up_at=12.0) for number in range(20)))
    for second in range(10):  # one a second
        serve(queue, 1, float(second))
    assert queue.expected_wait(9.0) == pytest.approx(9.0, rel=0.2)
    with pytest.raises(DeadlineExceeded):
        queue.enqueue(Entry(give_up_at=12.0), 9.0)
    queue.enqueue(Entry(give_up_at=30.0), 9.0)
    queue.enqueue(Entry(give_up_at=11.0), 9.0)  # it goes before all others
    queue.enqueue(Entry(org_id="another", give_up_at=12.0), 9.0)  # it is that one's turn


def test_expected_wait_is_zero_without_recent_measurements() -> None:
    queue = RequestQueue(100)
    joined(queue, *(Entry(number) for number in range(20)))
    queue.enqueue(Entry(give_up_at=0.001), 0.0)
    assert queue.expected_wait(0.0) == 0.0
    serve(queue, 5, 0.0)
    assert queue.expected_wait(60.0) == 0.0, "what was long ago tells nothing"


def test_an_entry_that_must_wait_again_is_not_lost() -> None:
    """Its worker failed while it was being placed."""
    queue = RequestQueue(10)
    first, second = joined(queue, Entry(1), Entry(2))
    tries: list[Entry] = []

    def fails_at_once(entry: Entry) -> None:
        tries.append(entry)
        if len(tries) == 1:
            queue.enqueue(entry, 0.0)
            queue.serve(0.0)  # its slot is free again

    offer(queue, 0.0, lambda entry: True, fails_at_once)
    assert tries == [first, second, first]
    assert len(queue) == 0


def test_empty_takes_everybody_out() -> None:
    queue = RequestQueue(10)
    entries = joined(queue, Entry(1), Entry(2, ServiceClass.SYSTEM), Entry(3))
    queue.withdraw(entries[0])
    assert set(queue.drain()) == {entries[1], entries[2]}
    assert (len(queue), queue.drain(), serve(queue, 9), rest(queue)) == (0, [], [], {})


def rest(queue: RequestQueue) -> dict[str, object]:
    """What a line without anybody waiting or running should not know any more."""
    found: dict[str, object] = {each.name: deficit for each, deficit in queue.deficits.items() if deficit}
    found |= {each.name: queue.counters(each) for each in ServiceClass if queue.counters(each)}
    return found | ({"lanes": queue._groups} if queue._groups else {})


STEP = st.one_of(
    st.tuples(
        st.just("join"),
        st.builds(
            Entry,
            service_class=st.sampled_from(ServiceClass),
            pools=st.sampled_from([STANDARD, PRIORITY]),
            excluded=st.sampled_from([frozenset(), frozenset({"a"})]),
            org_id=st.sampled_from("xyz"),
            give_up_at=st.integers(1, 200),
            prompt_tokens=st.integers(0, 50),
            max_tokens=st.integers(0, 50),
        ),
    ),
    st.tuples(st.just("serve"), st.tuples(st.integers(0, 4), st.booleans(), st.booleans())),
    st.tuples(st.just("leave"), st.integers(0, 50)),
    st.tuples(st.just("settle"), st.integers(0, 50)),
    st.tuples(st.just("wait"), st.integers(0, 40)),
    st.tuples(st.just("stream"), st.integers(0, 50)),
    st.tuples(st.just("preempt"), st.integers(0, 50)),
    st.tuples(
        st.just("adopt"),
        st.builds(
            QueueRules,
            weights=st.fixed_dictionaries({each: st.integers(1, 3000) for each in ServiceClass}),
            bounds=st.just(dict.fromkeys(ServiceClass, 8)),
            tenant_weights=st.dictionaries(st.sampled_from("xyz"), st.floats(0.1, 10)),
        ),
    ),
)


class History:
    """A line, and what should be in it."""

    def __init__(self, limit: int) -> None:
        self.queue, self.limit, self.now = RequestQueue(limit), limit, 0.0
        self.waiting: list[Entry] = []
        self.running: list[Entry] = []
        self.ended: list[Entry] = []

    def join(self, entry: Entry) -> None:
        entry = replace(entry, queued_at=self.now, give_up_at=self.now + entry.give_up_at)
        of_class = [one for one in self.waiting if one.service_class is entry.service_class]
        try:
            self.queue.enqueue(entry, self.now)
        except RateLimited:
            assert len(of_class) >= self.limit
        except DeadlineExceeded:
            assert self.queue.expected_wait(self.now, entry) > entry.give_up_at - self.now
        else:
            displaced = [one for one in of_class if one.error is not None]
            assert len(displaced) == (len(of_class) >= self.limit)
            self.waiting = [one for one in self.waiting if one not in displaced] + [entry]
            self.ended += displaced

    def serve(self, how: tuple[int, bool, bool]) -> None:
        room, only_priority, without_a = how

        def fits(entry: Entry) -> bool:
            return (not only_priority or entry.pools == PRIORITY) and not (without_a and entry.excluded)

        served = serve(self.queue, room, self.now, only=fits)
        assert len(served) == min(room, sum(map(fits, self.waiting))), "a free slot never stays idle while somebody may use it"
        self.waiting = [one for one in self.waiting if one not in served]
        self.running += served

    def leave(self, which: int) -> None:
        if self.waiting:
            self.ended.append(self.waiting.pop(which % len(self.waiting)))
            self.queue.withdraw(self.ended[-1])

    def settle(self, which: int) -> None:
        if self.running:
            self.ended.append(self.running.pop(which % len(self.running)))
            self.queue.settle_debt(self.ended[-1], which, 3 * which)

    def stream(self, which: int) -> None:
        if self.running:
            entry = self.running[which % len(self.running)]
            assert entry.debt is not None
            entry.debt.grow(which)

    def preempt(self, which: int) -> None:
        if self.running:
            entry = self.running.pop(which % len(self.running))
            self.queue.requeue(entry)
            assert entry.debt is None
            self.waiting.append(entry)

    def adopt(self, rules: QueueRules) -> None:
        self.queue.adopt(rules)

    def wait(self, seconds: int) -> None:
        self.now += seconds
        late = self.queue.drop_expired(self.now)
        assert set(late) == {one for one in self.waiting if one.give_up_at <= self.now}
        self.waiting = [one for one in self.waiting if one not in late]
        self.ended += late  # type: ignore[arg-type]  # the line knows them by their protocol
        hopeless = [entry for entry, _ in self.queue.drop_unreachable_deadlines(self.now)]
        assert set(hopeless) <= set(self.waiting)
        before = {(one.service_class, one.org_id) for one in self.waiting}
        self.waiting = [one for one in self.waiting if one not in hopeless]
        assert {(one.service_class, one.org_id) for one in self.waiting} == before, "nobody who is next was taken out"
        self.ended += hopeless  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(STEP, max_size=80), st.integers(1, 8))
def test_entries_are_neither_lost_nor_served_twice_in_any_history(steps: list[tuple[str, Any]], limit: int) -> None:
    history = History(limit)
    for what, how in steps:
        getattr(history, what)(how)
        assert len(history.queue) == len(history.waiting)
        emptied = {each for each in ServiceClass if all(one.service_class is not each for one in history.waiting)}
        assert all(history.queue.deficits[each] == 0 for each in emptied)
        assert all(deficit >= 0 for deficit in history.queue.deficits.values())
    assert set(history.queue.drain()) == set(history.waiting)
    while history.running:
        history.settle(0)
    assert len(history.ended) == len(set(history.ended))
    assert rest(history.queue) == {}


def test_queue_demand_is_uncached_prompts_plus_usual_completions() -> None:
    queue = RequestQueue(10)
    joined(queue, Entry(1, prompt_tokens=100, cached_tokens=40, max_tokens=500), Entry(2, prompt_tokens=10, max_tokens=20))
    assert queue.demand(None) == 60 + 500 + 10 + 20
    assert queue.demand(30.0) == 60 + 30 + 10 + 20
    serve(queue, 1)
    assert queue.demand(30.0) == 30
    assert RequestQueue(10).demand(30.0) == 0
