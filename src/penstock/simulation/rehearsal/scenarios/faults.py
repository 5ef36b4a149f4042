"""Workers that crash, flap, slow down or are all gone; and a model that has no worker yet."""

from random import Random

from penstock.simulation.rehearsal import figures
from penstock.simulation.rehearsal.machine import MachineSpec
from penstock.simulation.rehearsal.traffic import PlannedRequest, Sizes, asks, poisson
from penstock.simulation.rehearsal.verdict import PassLine, Scenario
from penstock.simulation.rehearsal.world import Setup, World
from penstock.simulation.replica import Speed

_GPU = Speed(prefill_tokens_per_second=20_000, step_seconds=0.01, step_seconds_per_sequence=0.0002, max_batch=32)
_SIZES = Sizes(300, 0.6, 80, 0.6, 2_000, 300)
_RATE = 40.0


def _given(seed: int, seconds: float, rate: float = _RATE) -> list[PlannedRequest]:
    random = Random(seed)
    return asks(poisson(random, rate, seconds), lambda: _SIZES.draw(random))


def _fleet(count: int, slots: int = 16) -> tuple[MachineSpec, ...]:
    return tuple(MachineSpec(f"w{n}", _GPU, slots) for n in range(count))


# --- a crash ---------------------------------------------------------------------------------------------------------

_CRASH_AT, _LOOKED_AT_SECONDS = 20.0, 25.0


def _measure_crash(seed: int, brief: bool) -> dict[str, float]:
    """An upstream, which the gateway holds no connection to: only the failures tell."""
    world = World(Setup(_fleet(10), watched=False), seed)
    machine = world.machines["w0"]
    seen: dict[str, float] = {}

    def crash() -> None:
        member = world.workers.member("w0")
        seen["in flight"] = float(member.in_flight) if member is not None else 0.0
        seen["before"] = float(machine.requests)
        world.crash("w0")

    world.agenda.at(world.started + _CRASH_AT, crash)
    world.agenda.at(world.started + _CRASH_AT + _LOOKED_AT_SECONDS, lambda: seen.update(after=float(machine.requests)))
    results = world.play(_given(seed, 60.0), 120.0)
    return {
        "requests sent to it after the crash": seen["after"] - seen["before"],
        "in flight when it crashed": seen["in flight"],
        "requests that failed": float(sum(not one.completed for one in results)),
    }


CRASH = Scenario(
    "crash",
    "One of ten upstreams crashes",
    f"{_RATE:g} requests/s; the gateway is not told, connections are refused. Counted for {_LOOKED_AT_SECONDS:g} s: the requests that were"
    " still sent there. Those in flight whose answer had begun cannot be saved.",
    _measure_crash,
    (PassLine("outlier_ejection.failures_after_crash", "requests sent to it after the crash", "<=", 5.0),),
)

# --- flapping --------------------------------------------------------------------------------------------------------


def _measure_flapping(seed: int, brief: bool) -> dict[str, float]:
    """It says that it is well all the time, and for ten of every twenty seconds refuses every request."""
    seconds = 200.0 if brief else 600.0
    world = World(Setup(_fleet(10), watched=False), seed)
    machine = world.machines["w0"]
    for cycle in range(int(seconds / 20)):
        world.agenda.at(world.started + 20.0 * cycle + 10.0, machine.crash)
        world.agenda.at(world.started + 20.0 * cycle + 20.0, machine.restart)
    world.agenda.every(1.0, lambda: world.workers.alive("w0"))
    results = world.play(_given(seed, seconds, rate=20.0), seconds + 60.0)
    return {
        "its share of the attempts": machine.requests / world.transport.sent,
        "requests that failed": figures.share(results, lambda one: not one.completed),
    }


FLAPPING = Scenario(
    "flapping",
    "One of ten workers flaps",
    "Ten seconds well, ten seconds refusing everything, while it says that it is well.",
    _measure_flapping,
    (PassLine("outlier_ejection.flapping_share", "its share of the attempts", "<", 0.01),),
)

# --- no worker is there ----------------------------------------------------------------------------------------------


def _measure_down(seed: int, brief: bool) -> dict[str, float]:
    world = World(Setup(_fleet(5), watched=False), seed)
    for name in world.machines:
        world.agenda.every(1.0, lambda name=name: world.workers.alive(name))  # type: ignore[misc]  # bound now
    for machine in world.machines.values():
        world.agenda.at(world.started + 10.0, machine.crash)
        world.agenda.at(world.started + 50.0, machine.restart)
    marks: list[int] = []
    for moment in (10.5, 50.0):
        world.agenda.at(world.started + moment, lambda: marks.append(world.transport.sent))
    results = world.play(_given(seed, 70.0), 140.0)
    during = [one for one in results if 10.5 <= one.ask.at < 50.0]
    after = [one for one in results if one.ask.at >= 60.0]
    return {
        "attempts for each request while all are down": (marks[1] - marks[0]) / len(during),
        "p99 of the refusals s": figures.quantile((one.seconds or 0.0 for one in during), 0.99),
        "success again ten seconds after they are back": figures.share(after, lambda one: one.completed),
    }


ALL_DOWN = Scenario(
    "all_down",
    "Every upstream refuses connections for forty seconds",
    f"Five upstreams, {_RATE:g} requests/s; the probes still say that all is well.",
    _measure_down,
    (
        PassLine("retry_budget.amplification", "attempts for each request while all are down", "<=", 1.2),
        PassLine("retry_budget.recovers", "success again ten seconds after they are back", ">=", 0.99),
    ),
)

# --- a worker slows down ---------------------------------------------------------------------------------------------


def _measure_slowdown(seed: int, brief: bool) -> dict[str, float]:
    """Busy enough that its limit counts; then one of four is four times as slow."""
    world = World(Setup(_fleet(4, slots=32)), seed)
    slowed, limits = 60.0, dict[float, int]()

    def note(at: float) -> None:
        member = world.workers.member("w0")
        limits[at] = member.limit if member is not None else 0

    world.agenda.at(world.started + slowed - 0.01, lambda: note(0.0))
    world.agenda.at(world.started + slowed, lambda: world.machines["w0"].slow(4.0))
    for tenth in range(1, 300):
        world.agenda.at(world.started + slowed + tenth / 10, lambda at=tenth / 10: note(at))  # type: ignore[misc]
    world.play(_given(seed, 90.0, rate=110.0), 92.0)
    halved = [at for at, limit in limits.items() if at > 0.0 and limit <= limits[0.0] / 2]
    return {
        "limit before": float(limits[0.0]),
        "limit ten seconds later": float(limits[10.0]),
        "seconds until halved": min(halved, default=30.0),
    }


SLOWDOWN = Scenario(
    "slowdown",
    "One of four workers becomes four times as slow",
    "All four are as busy as they can be, 32 slots each. Its adaptive limit, from the moment when it slows down (30 s: not within 30 s).",
    _measure_slowdown,
    (PassLine("adaptive_limit.halves_after_slowdown", "seconds until halved", "<=", 10.0),),
)

# --- no worker is there yet ---------------------------------------------------------------------------------------------


def _measure_zero(seed: int, brief: bool) -> dict[str, float]:
    """Clients come back when they are told to; both workers are ready after twenty seconds."""
    world = World(Setup(_fleet(2), come_back=True), seed)
    for name, machine in world.machines.items():
        world.workers.lost(name)
        machine.down = True
        world.agenda.at(world.started + 20.0, lambda name=name: world.restart(name))  # type: ignore[misc]
    given = _given(seed, 30.0, rate=10.0)
    results = world.play(given, 120.0)
    refused = [one for one in results if one.refused]
    return {
        "refused and told when to come back": figures.share(refused, lambda one: one.retry_after_seconds is not None),
        "times that a client had to come back, mean": len(refused) / len(given),
        "served in the end": sum(one.completed for one in results) / len(given),
    }


FROM_ZERO = Scenario(
    "from_zero",
    "A model whose workers start only now",
    "Ten requests/s for half a minute; two workers are ready after twenty seconds; clients come back when `retry-after` says so."
    " No deployment starts workers here; `autoscaling_from_zero` is a deployment that does.",
    _measure_zero,
    (PassLine("from_zero.nobody_lost", "served in the end", "=", 1.0, "every"),),
)
