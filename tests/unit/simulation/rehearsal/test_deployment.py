"""A deployment in the real pipeline: replicas come after a cold start, are drained before they go, and wake from zero."""

from random import Random

from penstock.capacity.rules import ScaleRules
from penstock.domain.workers import WorkerState
from penstock.simulation.rehearsal.bodies import MODEL
from penstock.simulation.rehearsal.deployment import Deployment, DeploymentSpec
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, poisson
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

GPU = Speed(prefill_tokens_per_second=8_000, step_seconds=0.05, step_seconds_per_sequence=0.001, max_batch=8)
SIZES = Sizes(200, 0.5, 40, 0.5, 1_000, 200)
RULES = ScaleRules(300.0, min_replicas=0, max_replicas=8, down_after_seconds=30.0, stable_seconds=10.0)


def deployed(rules: ScaleRules = RULES, first: int = 1, cold_seconds: float = 10.0) -> tuple[World, Deployment]:
    world = World(Setup(()), 1)
    return world, Deployment(world, DeploymentSpec(MachineSpec("r", GPU, 8), rules, cold_seconds, first))


def traffic(rate: float, seconds: float, start: float = 0.0) -> list[PlannedRequest]:
    random = Random(1)
    return asks(poisson(random, rate, seconds, start), lambda: SIZES.draw(random))


def test_a_request_that_finds_no_replica_waits_for_the_one_that_it_wakes() -> None:
    world, deployment = deployed(first=0)
    (result,) = world.play([PlannedRequest(5.0, 200, 20, 32)], 30.0)
    assert result.completed
    assert 10.0 <= result.queue_seconds <= 12.1
    assert deployment.size == 1


def test_request_for_a_model_without_a_deployment_is_refused() -> None:
    world, _ = deployed(first=0)
    world.workers.set_elastic(MODEL, elastic=False)
    (result,) = world.play([PlannedRequest(5.0, 200, 20, 32)], 30.0)
    assert (result.status, result.code) == (404, "model_not_found")


def test_dynamo_13559_scale_down_kills_no_request() -> None:
    """Long answers are under way when the load falls: each replica that goes finishes what it has."""
    world, deployment = deployed(first=6)
    long = [PlannedRequest(float(number) / 2, 200, 800, 1_024) for number in range(80)]
    results = world.play(sorted([*long, *traffic(6.0, 30.0)]), 400.0)
    assert all(one.completed for one in results)
    assert deployment.drained >= 4
    assert deployment.cut_off == 0
    assert world.leaks() == {}


def test_draining_replica_gets_no_new_request_and_is_removed_once_idle() -> None:
    world, deployment = deployed(ScaleRules(300.0, max_replicas=8, down_after_seconds=30.0, stable_seconds=10.0), first=3)
    seen: dict[str, set[int]] = {}

    def look() -> None:
        for member in world.workers.members():
            if member.state is WorkerState.DRAINING:
                seen.setdefault(member.id, set()).add(world.machines[member.id].requests)

    world.agenda.every(0.5, look)
    results = world.play([*traffic(3.0, 60.0), PlannedRequest(61.0, 200, 800, 1_024), PlannedRequest(61.0, 200, 800, 1_024)], 160.0)
    assert all(one.completed for one in results)
    assert len(seen) == 2
    assert all(len(counts) == 1 for counts in seen.values())
    assert [member.id for member in world.workers.members()] == list(world.machines)
    assert deployment.size == 1


def test_replica_seconds_are_counted_from_the_start_order() -> None:
    world, deployment = deployed(ScaleRules(300.0, min_replicas=2, max_replicas=8), first=2)
    world.play([], 100.0)
    assert deployment.replica_seconds == 200.0
    assert deployment.awake_seconds == 100.0
    assert (deployment.reversals, deployment.most) == (0, 2)


def test_a_replica_that_is_given_up_while_it_starts_never_serves() -> None:
    world, deployment = deployed(
        ScaleRules(300.0, min_replicas=0, max_replicas=8, down_after_seconds=4.0, stable_seconds=6.0), first=0, cold_seconds=60.0
    )
    (left,) = world.play([PlannedRequest(5.0, 200, 20, 32, timeout_seconds=3.0)], 200.0)
    assert left.refused
    assert deployment.size == 0
    assert world.machines == {}
