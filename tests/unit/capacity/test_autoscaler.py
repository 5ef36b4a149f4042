"""How many replicas: a step is followed in seconds, nothing flaps, nothing is stopped in a panic, and zero is a number."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.capacity.autoscaler import Autoscaler, ScalePlan
from penstock.capacity.observation import Observation, ReplicaLoad, ReplicaState
from penstock.capacity.rules import InvalidRules, ScaleRules
from penstock.domain.clock import ManualClock

TARGET = 100
RULES = ScaleRules(TARGET, min_replicas=1, max_replicas=20)
READY, STARTING, DRAINING = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.DRAINING


class Deployment:
    """Does at once what is decided; a replica that was started is ready after `cold_seconds`."""

    def __init__(self, rules: ScaleRules = RULES, count: int = 1, cold_seconds: float = 20.0) -> None:
        self.clock = ManualClock()
        self.scaler = Autoscaler(rules, self.clock)
        self.cold_seconds = cold_seconds
        self.ready_at = {f"r{number}": self.clock.monotonic() for number in range(count)}
        self.started = count
        self.sizes: list[int] = []

    def step(self, demand: float, queued: int = 0, seconds: float = 2.0) -> ScalePlan:
        """`demand`: tokens on the ready ones together."""
        now = self.clock.monotonic()
        ready = [name for name, at in self.ready_at.items() if at <= now]
        replicas = [
            ReplicaLoad(name, READY, int(demand / len(ready))) if name in ready else ReplicaLoad(name, STARTING, 10**6)
            for name in self.ready_at
        ]
        plan = self.scaler.decide(Observation(replicas, queued if ready else queued + int(demand)))
        for name in plan.drain:
            del self.ready_at[name]
        for _ in range(plan.start):
            self.ready_at[f"r{self.started}"] = now + self.cold_seconds
            self.started += 1
        self.clock.advance(seconds)
        self.sizes.append(plan.wanted)
        return plan

    def run(self, demand: float, seconds: float, queued: int = 0) -> ScalePlan:
        for _ in range(int(seconds / 2) - 1):
            self.step(demand, queued)
        return self.step(demand, queued)

    @property
    def reversals(self) -> int:
        moves = [after > before for before, after in pairwise(self.sizes) if after != before]
        return sum(one is not other for one, other in pairwise(moves))


# what is wanted


def test_a_steady_demand_is_divided_by_the_target() -> None:
    one = Deployment(count=4)
    assert one.run(demand=400.0, seconds=600.0).wanted == 4
    assert set(one.sizes) == {4}


@pytest.mark.parametrize("demand", [361.0, 400.0, 439.0])
def test_a_tenth_more_or_less_changes_nothing(demand: float) -> None:
    one = Deployment(count=4)
    one.run(demand, seconds=900.0)
    assert set(one.sizes) == {4}


def test_more_than_a_tenth_more_starts_one() -> None:
    one = Deployment(count=4)
    one.run(400.0, 60.0)
    assert one.run(450.0, 60.0).wanted == 5


def test_a_step_is_followed_within_seconds_at_most_twice_as_many_in_six() -> None:
    one = Deployment(count=2)
    one.run(200.0, 60.0)
    one.sizes.clear()
    one.run(200.0, 30.0, queued=1_800)
    assert one.sizes[1] == 4
    assert max(one.sizes) == 20
    for early, late in zip(one.sizes, one.sizes[3:], strict=False):
        assert late <= 2 * early


def test_high_load_with_an_empty_queue_does_not_start_panic_mode() -> None:
    """A full batch is as it should be; the mean of a minute decides."""
    one = Deployment(count=2)
    one.run(200.0, 60.0)
    assert not one.step(1_000.0).panicking
    assert one.step(1_000.0, queued=10).panicking


def test_starting_replicas_count_and_what_they_say_does_not() -> None:
    one = Deployment(count=2, cold_seconds=10**6)
    one.run(200.0, 60.0)
    one.run(200.0, 30.0, queued=200)
    assert one.sizes[-1] == 4  # not more and more, while those that were started do not serve yet
    assert len(one.ready_at) == 4


def test_draining_replica_is_excluded_from_count_and_load() -> None:
    scaler = Autoscaler(RULES, ManualClock())
    plan = scaler.decide(Observation([ReplicaLoad("a", READY, 100), ReplicaLoad("b", DRAINING, 5_000)]))
    assert (plan.wanted, plan.start, plan.drain, plan.stable_tokens) == (1, 0, (), 100.0)


def test_replicas_of_unknown_load_do_not_change_the_count() -> None:
    one = Autoscaler(RULES, clock := ManualClock())
    for _ in range(400):
        plan = one.decide(Observation([ReplicaLoad(name, READY) for name in "abc"]))
        clock.advance(2.0)
        assert (plan.wanted, plan.start, plan.drain) == (3, 0, ())


def test_replica_bounds_are_kept() -> None:
    assert Deployment(ScaleRules(TARGET, min_replicas=3, max_replicas=5), count=3).run(0.0, 600.0).wanted == 3
    assert Deployment(ScaleRules(TARGET, min_replicas=3, max_replicas=5), count=3).run(300.0, 600.0, queued=10_000).wanted == 5
    one = Deployment(count=6)
    one.run(600.0, 60.0)
    one.scaler.adopt(ScaleRules(TARGET, min_replicas=1, max_replicas=4))
    assert one.step(600.0).wanted == 4  # an operator's bound holds at once


# downwards


def test_fewer_only_after_they_would_have_been_enough_for_five_minutes() -> None:
    one = Deployment(count=8)
    one.run(800.0, 60.0)
    since = len(one.sizes)
    one.run(100.0, 700.0)
    first = next(number for number, size in enumerate(one.sizes) if size < 8)
    assert 300.0 <= 2.0 * (first - since) <= 380.0
    assert one.sizes[-1] == 2  # one would be busier than it should be: a tenth is left for the next wobble


def test_scale_down_delay_doubles_after_a_quick_scale_up() -> None:
    deployment = Deployment(count=5)
    deployment.run(350, 320)
    assert len(deployment.ready_at) == 4
    deployment.run(460, 100)
    assert len(deployment.ready_at) == 5, "it came down too early"
    deployment.run(350, 500)
    assert len(deployment.ready_at) == 5, "five minutes are not enough this time"
    deployment.run(350, 200)
    assert len(deployment.ready_at) == 4
    deployment.run(350, 700)
    deployment.run(500, 60)
    deployment.run(350, 420)
    assert len(deployment.ready_at) == 4, "it was needed for long: five minutes again"


def test_those_that_start_go_first_then_those_with_the_least_to_do() -> None:
    clock = ManualClock()
    scaler = Autoscaler(ScaleRules(TARGET, max_replicas=20, down_after_seconds=0.0), clock)
    replicas = [
        ReplicaLoad("a", READY, 90),
        ReplicaLoad("b", READY, 0),
        ReplicaLoad("c", READY, 10),
        ReplicaLoad("d", STARTING),
        ReplicaLoad("e", STARTING),
    ]
    scaler.decide(Observation(replicas))
    clock.advance(61.0)
    assert scaler.decide(Observation(replicas)).drain == ("e", "d", "b")


def test_nothing_is_stopped_in_a_panic() -> None:
    one = Deployment(ScaleRules(TARGET, max_replicas=20, down_after_seconds=0.0), count=2)
    one.run(200.0, 60.0)
    for number in range(100):
        before = len(one.ready_at)
        plan = one.step(150.0, queued=2_000 if number % 10 == 0 else 0)
        if plan.panicking:
            assert plan.drain == ()
            assert plan.wanted >= before


def test_new_autoscaler_stops_nothing_for_five_minutes() -> None:
    """A gateway that has just started, or has taken over, has seen nothing of what the replicas are there for."""
    one = Deployment(count=10)
    one.run(100.0, 298.0)
    assert set(one.sizes) == {10}


# zero


def test_it_sleeps_after_five_idle_minutes_and_the_first_request_wakes_it() -> None:
    one = Deployment(ScaleRules(TARGET, min_replicas=0, max_replicas=20), count=1)
    assert one.run(0.0, 298.0).wanted == 1
    assert one.run(0.0, 10.0).wanted == 0
    assert one.step(0.0, queued=1).wanted == 1
    assert one.run(0.0, 250.0).wanted == 1


# by the names of this field's issues


def test_ray_18925_a_load_around_a_threshold_does_not_flap() -> None:
    """Up and down every ten seconds between what three replicas want and what four want."""
    one = Deployment(count=3)
    for number in range(180):
        one.run(290.0 if number % 2 else 350.0, 10.0)
    assert one.reversals <= 1


def test_kubeai_67_from_zero_to_one_to_zero() -> None:
    """A request now and then: the replica that it wakes stays, and is not stopped between two of them, nor before it is ready."""
    one = Deployment(ScaleRules(TARGET, min_replicas=0, max_replicas=20), count=0, cold_seconds=40.0)
    for _ in range(10):
        one.run(0.0, 10.0, queued=50)
        one.run(0.0, 110.0)
    assert one.reversals == 0
    assert one.sizes[-1] == 1


def test_kubeai_67_new_autoscaler_keeps_the_replicas_of_its_predecessor() -> None:
    one = Deployment(ScaleRules(TARGET, min_replicas=0, max_replicas=20), count=0, cold_seconds=40.0)
    one.run(0.0, 10.0, queued=50)
    one.scaler = Autoscaler(one.scaler.rules, one.clock)
    one.run(0.0, 290.0)
    assert one.sizes[-1] == 1


# for any demand


@settings(deadline=None, max_examples=60)
@given(
    demands=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1, max_size=300),
    least=st.integers(0, 3),
    most=st.integers(4, 30),
    count=st.integers(0, 12),
)
def test_within_bounds_never_more_than_twice_and_never_down_after_up(
    demands: list[tuple[int, int]], least: int, most: int, count: int
) -> None:
    one = Deployment(ScaleRules(TARGET, min_replicas=least, max_replicas=most), count=count, cold_seconds=15.0)
    last_up = -1
    for number, (running, queued) in enumerate(demands):
        before = len(one.ready_at)
        plan = one.step(running, queued)
        assert least <= plan.wanted <= most
        assert (plan.start, len(plan.drain)) == (max(0, plan.wanted - before), max(0, before - plan.wanted))
        if plan.panicking and before <= most:
            assert plan.drain == ()
        if plan.start:
            assert plan.wanted <= max(2 * min([count, *one.sizes][-4:]), 1, least)
            last_up = number
        elif plan.drain and before <= most:
            assert 2.0 * (number - last_up) >= 300.0


@settings(deadline=None, max_examples=60)
@given(
    past=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 500)), max_size=200),
    running=st.integers(0, 3_000),
    queued=st.integers(0, 3_000),
    more=st.integers(1, 3_000),
    waits=st.booleans(),
)
def test_more_demand_never_wants_fewer(past: list[tuple[int, int]], running: int, queued: int, more: int, waits: bool) -> None:
    low, high = Deployment(count=3), Deployment(count=3)
    for now in past:
        low.step(*now)
        high.step(*now)
    # The queue grows, or what runs does.
    assert high.step(running + (0 if waits else more), queued + (more if waits else 0)).wanted >= low.step(running, queued).wanted


def test_memory_does_not_grow_with_time() -> None:
    one = Deployment(count=3)
    for number in range(5_000):
        one.step(float(number * 37 % 900), seconds=0.5)
    scaler = one.scaler
    assert len(scaler._stable._buckets) <= 61
    assert len(scaler._panic._buckets) <= 7
    assert len(scaler._enough._kept) <= RULES.max_replicas + 1


# rules


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"target_tokens": 0.0}, "target_tokens must be more than 0"),
        ({"target_tokens": float("nan")}, "target_tokens"),
        ({"min_replicas": -1}, "min_replicas must be at least 0"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas must be at least 3"),
        ({"max_replicas": 0}, "max_replicas must be at least 1"),
        ({"panic_seconds": 0.0}, "panic_seconds"),
        ({"stable_seconds": 5.0}, "stable_seconds must be at least 6"),
        ({"panic_factor": 1.0}, "panic_factor must be more than 1"),
        ({"tolerance": 1.0}, "tolerance must be less than 1"),
        ({"up_factor": 1.0}, "up_factor"),
        ({"down_after_seconds": -1.0}, "down_after_seconds"),
    ],
)
def test_invalid_rules_are_refused_by_field(fields: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidRules, match=told):
        ScaleRules(**{"target_tokens": 100.0, **fields})  # type: ignore[arg-type]
