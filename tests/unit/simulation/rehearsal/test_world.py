"""The real pipeline between simulated clients and workers: nothing is lost, nothing is left over, and a seed tells everything."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.policy import ClassPolicy, Policy
from penstock.domain.principal import ServiceClass
from penstock.serving.routing.worker_set import RoutingRules
from penstock.simulation.rehearsal.bodies import body
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.outcomes import RequestResult
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, of_classes, poisson, zipf_prefixes
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed
from penstock.wire.chat import requests

GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.01, step_seconds_per_sequence=0.0002, max_batch=16)
SIZES = Sizes(200, 0.6, 40, 0.6, 1_000, 200)


def traffic(seed: int, rate: float = 20.0, seconds: float = 20.0) -> list[PlannedRequest]:
    random = Random(seed)
    return of_classes(random, asks(poisson(random, rate, seconds), lambda: SIZES.draw(random)))


def two(slots: int = 8) -> tuple[MachineSpec, ...]:
    return MachineSpec("a", GPU, slots), MachineSpec("b", GPU, slots)


def test_every_request_is_answered_and_nothing_is_left_over() -> None:
    world = World(Setup(two()), 1)
    results = world.play(traffic(1), 120.0)
    assert all(one.completed for one in results)
    assert sum(machine.requests for machine in world.machines.values()) == len(results) == world.transport.sent
    assert world.leaks() == {}


def test_the_same_seed_tells_the_same_story() -> None:
    def told(seed: int) -> list[RequestResult]:
        return World(Setup(two()), seed).play(traffic(3), 60.0)

    assert told(7) == told(7)
    assert told(7) != told(8)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), crash=st.floats(1.0, 15.0), back=st.floats(0.1, 10.0), watched=st.booleans())
def test_every_request_is_answered_when_a_worker_crashes_and_returns(seed: int, crash: float, back: float, watched: bool) -> None:
    world = World(Setup(two(), watched=watched), seed)
    world.agenda.at(world.started + crash, lambda: world.crash("a"))
    world.agenda.at(world.started + crash + back, lambda: world.restart("a"))
    results = world.play(traffic(seed, rate=10.0), 200.0)
    assert all(one.seconds is not None for one in results)
    assert world.leaks() == {}


def test_the_figures_of_one_request_are_the_replicas() -> None:
    world = World(Setup((MachineSpec("a", GPU, 4),)), 1)
    (result,) = world.play([PlannedRequest(0.5, 400, 11, 64)], 30.0)
    step = 0.01 + 0.0002
    assert result.first_token_seconds == pytest.approx(400 / 20_000 + step)
    assert result.seconds == pytest.approx(400 / 20_000 + 11 * step)
    assert result.token_seconds == pytest.approx(step)
    assert (result.worker_id, result.queue_seconds, result.tries) == ("a", 0.0, 1)


def test_a_slow_worker_slows_its_requests() -> None:
    world = World(Setup((MachineSpec("a", GPU, 4),)), 1)
    world.agenda.at(world.started, lambda: world.machines["a"].slow(2.0))
    (result,) = world.play([PlannedRequest(0.5, 400, 11, 64)], 30.0)
    assert result.seconds == pytest.approx(2 * (400 / 20_000 + 11 * 0.0102))


def test_a_hung_worker_is_given_up() -> None:
    world = World(Setup((MachineSpec("a", GPU, 4),)), 1)
    world.machines["a"].hung = True
    (result,) = world.play([PlannedRequest(0.5, 400, 11, 64)], 400.0)
    assert result.code
    assert world.leaks() == {}


def test_prompts_that_begin_alike_are_read_once() -> None:
    random = Random(1)
    given_ = zipf_prefixes(random, asks(poisson(random, 2.0, 20.0), lambda: SIZES.draw(random)), 1, 1.0, 640)
    world = World(Setup((MachineSpec("a", GPU, 8, prefix_cache_tokens=6_400),), choose_by="prefix_affinity"), 1)
    results = world.play(given_, 60.0)
    assert [one.cached_tokens for one in results] == [0, *[640] * (len(results) - 1)]


def test_a_policy_is_the_policy() -> None:
    """A class whose bound is one refuses the second that would wait."""
    classes = dict.fromkeys(ServiceClass, ClassPolicy(1, 1, 5.0))
    fleet = RoutingRules(limits=None, priority_reserve=0.0, overflow_reserve=0.0)
    world = World(Setup((MachineSpec("a", GPU, 1),), policy=Policy(classes=classes), routing=fleet), 1)
    results = world.play([PlannedRequest(0.1 * number, 100, 200, 200) for number in range(3)], 60.0)
    assert [one.code for one in results] == ["", "", "rate_limit_exceeded"]


@given(prompt=st.integers(32, 5_000), shared=st.integers(0, 2_000))
def test_a_body_has_the_tokens_that_were_asked_for(prompt: int, shared: int) -> None:
    ask = PlannedRequest(0.0, prompt + shared, 10, 64, prefix=3, prefix_tokens=shared)
    from penstock.domain.inference import Operation

    sent = body(5, ask, Random(1))
    assert requests.prompt_tokens(requests.decode(Operation.CHAT, sent, 64), sent) == pytest.approx(ask.prompt_tokens, abs=2)
