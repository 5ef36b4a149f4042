"""Pools and slots: never above what there is, the reserves kept, every counter back at zero."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.principal import Pool
from penstock.serving.routing.adaptive_limit import LatencyKind, LimitRules
from penstock.serving.routing.choice import RoutingPolicies
from penstock.serving.routing.member import Member
from penstock.serving.routing.policies.power_of_two import PowerOfTwo
from penstock.serving.routing.retry_budget import RetryBudget
from penstock.serving.routing.serving import Serving
from tests.unit.serving.routing.members import ready, worker

NOBODY: frozenset[str] = frozenset()
PRIORITY, STANDARD, OVERFLOW = (Pool.PRIORITY, Pool.STANDARD), (Pool.STANDARD,), (Pool.OVERFLOW,)


def serving(*members: Member, priority: float = 0.1, overflow: float = 0.3) -> Serving:
    one = Serving("m", RoutingPolicies(Random(1)).choice("m"), priority, overflow)
    one.rebuild(members, len(members))
    return one


def fill(one: Serving, pools: tuple[Pool, ...]) -> int:
    """How many of these requests find a slot."""
    count = 0
    while (place := one.choose_worker(pools, NOBODY)) is not None:
        one.slot_taken(place[0], 10)
        count += 1
    return count


def test_each_pool_has_its_share_of_the_slots() -> None:
    assert fill(serving(ready("a", 10), ready("b", 10)), OVERFLOW) == 14
    assert fill(serving(ready("a", 10), ready("b", 10)), STANDARD) == 18
    assert fill(serving(ready("a", 10), ready("b", 10)), PRIORITY) == 20


def test_the_reserves_are_kept_for_the_better_pools() -> None:
    one = serving(ready("a", 10), ready("b", 10))
    assert (fill(one, OVERFLOW), fill(one, STANDARD), fill(one, PRIORITY)) == (14, 4, 2)


def test_overflow_requests_do_not_use_the_priority_reserve() -> None:
    one = serving(ready("a", 10), priority=0.5, overflow=0.1)
    assert (fill(one, OVERFLOW), fill(one, STANDARD), fill(one, PRIORITY)) == (5, 0, 5)


def test_a_single_slot_serves_everybody() -> None:
    assert fill(serving(ready("a", 1)), OVERFLOW) == 1
    assert fill(serving(ready("a", 1)), STANDARD) == 1


def test_a_dedicated_worker_serves_its_pool_alone() -> None:
    one = serving(ready("shared", 10), ready("own", 3, pool="priority"), priority=0.0, overflow=0.0)
    assert (fill(one, STANDARD), fill(one, PRIORITY)) == (10, 3)
    only = serving(ready("own", 3, pool="overflow"))
    assert (fill(only, PRIORITY), fill(only, OVERFLOW)) == (0, 3)
    assert only.available
    assert not only.has_others(PRIORITY, NOBODY)
    assert only.has_others(OVERFLOW, NOBODY)


def test_priority_that_is_full_goes_to_standard() -> None:
    one = serving(ready("own", 1, pool="priority"), ready("shared", 2), priority=0.0)
    places = []
    while (place := one.choose_worker(PRIORITY, NOBODY)) is not None:
        one.slot_taken(place[0], 1)
        places.append((place[0].id, place[1]))
    assert places == [("own", Pool.PRIORITY), ("shared", Pool.PRIORITY), ("shared", Pool.PRIORITY)]


def test_has_room_is_true_exactly_while_a_worker_of_the_pool_has_capacity() -> None:
    one = serving(ready("a", 2), ready("b", 1, pool="priority"), priority=0.5)
    standard, priority = (Pool.STANDARD,), (Pool.PRIORITY,)
    assert (one.has_capacity(standard, frozenset()), one.has_capacity(priority, frozenset())) == (True, True)
    assert fill(one, standard) == 1
    assert (one.has_capacity(standard, frozenset()), one.has_capacity(priority, frozenset())) == (False, True)
    assert fill(one, priority) == 2
    assert not one.has_capacity(priority, frozenset())


def test_whose_slot_could_be_of_use() -> None:
    shared, dedicated = ready("a", 2), ready("b", 1, pool="priority")
    one = serving(shared, dedicated, priority=0.5, overflow=1.0)
    fill(one, (Pool.PRIORITY,))
    assert one.would_have_capacity_without(shared, (Pool.PRIORITY,), frozenset())
    assert not one.would_have_capacity_without(shared, (Pool.STANDARD,), frozenset()), "two are busy, of two of which one is reserved"
    assert not one.would_have_capacity_without(shared, (Pool.PRIORITY,), frozenset({"a"}))
    assert one.would_have_capacity_without(dedicated, (Pool.STANDARD, Pool.PRIORITY), frozenset())
    assert not one.would_have_capacity_without(dedicated, (Pool.STANDARD,), frozenset())


def test_the_time_to_read_a_prompt_is_that_of_a_fast_worker() -> None:
    slow, fast, unknown = (Member(worker(name), 0.0, LimitRules()) for name in ("slow", "fast", "unknown"))
    one = serving(slow, fast, unknown)
    assert one.prefill_seconds(1000) == 0.0
    for member, pace in ((slow, 0.004), (fast, 0.001)):
        assert member.adaptive is not None
        member.adaptive.note(LatencyKind.FIRST_TOKEN, pace, in_flight=4)
    assert one.prefill_seconds(1000) == pytest.approx(1.0)


def test_an_excluded_worker_gets_nothing() -> None:
    one = serving(ready("a"), ready("b"))
    for _ in range(20):
        place = one.choose_worker(STANDARD, frozenset({"a"}))
        assert place is not None
        assert place[0].id == "b"
    assert one.choose_worker(STANDARD, frozenset({"a", "b"})) is None
    assert not one.has_others(STANDARD, frozenset({"a", "b"}))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from([None, *(pool.value for pool in Pool)])), min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from([PRIORITY, STANDARD, OVERFLOW]), st.booleans(), st.integers(0, 100)), max_size=100),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_never_above_the_slots_and_back_to_zero(
    workers: list[tuple[int, str | None]], steps: list[tuple[tuple[Pool, ...], bool, int]], priority: float, overflow: float
) -> None:
    members = [ready(str(number), slots, pool=pool) for number, (slots, pool) in enumerate(workers)]
    one = serving(*members, priority=priority, overflow=overflow)
    shared = sum(member.slots for member in members if member.record.pool is None)
    running: list[tuple[Member, Pool, int]] = []
    for pools, take, number in steps:
        if take and (place := one.choose_worker(pools, NOBODY)) is not None:
            member, pool = place
            assert pool in pools
            assert member.record.pool in (None, pool.value)
            before = sum(other.in_flight for other in members if other.record.pool is None)
            if member.record.pool is None:
                reserve = {Pool.PRIORITY: 0.0, Pool.STANDARD: priority, Pool.OVERFLOW: overflow}[pool]
                assert before < shared - int(shared * reserve)
            one.slot_taken(member, number)
            running.append((member, pool, number))
        elif running:
            member, _, cost = running.pop(number % len(running))
            one.slot_released(member, cost)
        assert all(0 <= member.in_flight <= member.slots for member in members)
    for member, _, cost in running:
        one.slot_released(member, cost)
    assert [(member.in_flight, member.outstanding_tokens) for member in members] == [(0, 0)] * len(members)
    assert one._busy == 0


# --- the choice ----------------------------------------------------------------------------------------------------------


def test_power_of_two_is_nearly_even_and_prefers_the_less_loaded() -> None:
    members = [ready(str(number), 10_000) for number in range(8)]
    policy = PowerOfTwo(Random(3))
    for _ in range(8000):
        member = policy.choose(members, NOBODY)
        assert member is not None
        member.in_flight += 1
        member.outstanding_tokens += 1
    assert max(member.in_flight for member in members) - min(member.in_flight for member in members) < 20


def test_power_of_two_finds_the_only_free_worker_of_many() -> None:
    members = [ready(str(number), 1) for number in range(20)]
    for member in members[:-1]:
        member.in_flight = 1
    policy = PowerOfTwo(Random(5))
    assert {policy.choose(members, NOBODY) for _ in range(50)} == {members[-1]}
    assert policy.choose(members, frozenset({members[-1].id})) is None
    assert policy.choose([], NOBODY) is None


# --- retries ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("active", "allowed"), [(0, 3), (10, 3), (15, 3), (20, 4), (1000, 200)])
def test_retries_in_flight_are_a_share_of_what_runs(active: int, allowed: int) -> None:
    budget = RetryBudget(0.2, 3)
    budget.active = active
    assert sum(budget.take(0.0) for _ in range(active + 10)) == allowed
    budget.begun += 6
    assert not budget.take(0.0)
    budget.release(1, helped=False)
    assert budget.take(0.0)
    assert not budget.take(0.0)


def test_retries_that_fail_at_once_are_a_share_of_all_requests() -> None:
    """Nothing is ever in flight for long, and every request would like to be tried twice more."""
    budget = RetryBudget(0.2, 3)
    retries = 0
    for second in range(100):
        for _ in range(10):
            budget.begun += 1
            for _ in range(2):
                if budget.take(float(second)):
                    retries += 1
                    budget.release(1, helped=False)
    assert 160 <= retries <= 200


def test_retries_that_help_cost_nothing() -> None:
    budget = RetryBudget(0.2, 3)
    for _ in range(100):
        assert budget.take(0.0)
        budget.release(1, helped=True)


def test_a_retry_is_earned_by_waiting_too() -> None:
    budget = RetryBudget(0.2, 3)
    for _ in range(3):
        assert budget.take(0.0)
        budget.release(1, helped=False)
    assert not budget.take(5.0)
    assert budget.take(10.5)


def test_a_budget_without_a_floor() -> None:
    budget = RetryBudget(0.2, 0)
    assert not budget.take(0.0)
