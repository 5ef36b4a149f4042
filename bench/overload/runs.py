"""The phases: loads one after the other, a noisy tenant, and upstreams that all fail."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench.overload.client import Gun, Shot
from bench.overload.figures import Phase
from bench.overload.platform import Platform, Sim, platform
from bench.overload.queue import Sample, Watch
from bench.overload.traffic import MIX, Source
from penstock.simulation.rehearsal.traffic import PlannedRequest

FACTORS = (0.5, 1.0, 2.0, 5.0, 10.0)
STEPS, STEP_AT, STEP_UNTIL = 24, 3.0, 11.0
"""How often the step is taken, and seconds from the beginning until it comes and until it ends."""
TENANTS = 4
"""Organisations of each class."""
_REST_SECONDS = 6.0
_WARM_SECONDS, _CALIBRATION_SECONDS = 4.0, 14.0
_MODELS = b'{"object":"list","data":[{"id":"sim-small","object":"model"}]}'
T = TypeVar("T")


class Clock:
    """How busy the machine is, and how busy with us."""

    def __init__(self, own: Callable[[], float]) -> None:
        self._own = own
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        idle = fields[3] + fields[4]
        return float(sum(fields[:8])), float(idle), self._own()

    def shares(self) -> tuple[float, float]:
        """Since it was made: of all cores, everybody's share and ours."""
        total, idle, own = (now - then for now, then in zip(self._now(), self._before, strict=True))
        ticks = os.sysconf("SC_CLK_TCK")
        return 1 - idle / max(total, 1.0), own * ticks / max(total, 1.0)


def loads(
    penstock: Path, sim: Sim, given: Sequence[PlannedRequest], seconds: float
) -> tuple[float, list[Phase], list[Phase], list[list[Sample]]]:
    """What the workers can do, found by asking too much; then from half of it to ten times, each for `seconds` with a rest between; then
    a step from a half to ten times, several times over, with how many were queued meanwhile."""
    with platform(penstock, sim) as made:
        source = Source(given, {group: [made.key_of(f"{group}-{n}", group) for n in range(TENANTS)] for group in MIX})

        async def all_phases() -> tuple[float, list[Phase], list[Phase], list[list[Sample]]]:
            gun = Gun(made.port)
            capacity = await _capacity(gun, source, sim)
            phases = []
            for factor in FACTORS:
                await asyncio.sleep(_REST_SECONDS)
                shots = list(source.phase(factor * capacity, seconds))
                phases.append(await _phase(made, gun, f"{factor:g}x", factor * capacity, seconds, shots))
            steps, queues = [], []
            for _ in range(STEPS):
                await asyncio.sleep(_REST_SECONDS)
                shots = [
                    *source.phase(capacity / 2, STEP_AT, mixed=True),
                    *source.phase(10 * capacity, STEP_UNTIL - STEP_AT, STEP_AT, mixed=True),
                ]
                async with Watch(made.port, made.key) as watch:
                    steps.append(await _phase(made, gun, "step", 10 * capacity, STEP_UNTIL, shots))
                queues.append(watch.samples)
            gun.close()
            return capacity, phases, steps, queues

        return _run(all_phases())


async def _capacity(gun: Gun, source: Source, sim: Sim) -> float:
    """Requests a second that are completed while there are always more: after the first answers, until the last question."""
    hits = await gun.shoot(list(source.phase(3.0 * sim.workers * sim.slots, _CALIBRATION_SECONDS)))
    ends = [hit.at + hit.seconds for hit in hits if hit.completed and hit.seconds is not None]
    return sum(_WARM_SECONDS <= end < _CALIBRATION_SECONDS for end in ends) / (_CALIBRATION_SECONDS - _WARM_SECONDS)


async def _phase(made: Platform, gun: Gun, name: str, rate: float, seconds: float, shots: Sequence[Shot]) -> Phase:
    clock = Clock(made.cpu_seconds)
    hits = await gun.shoot(shots)
    everybody, own = clock.shares()
    return Phase(name, rate, seconds, hits, everybody, own)


def noise(
    penstock: Path, sim: Sim, given: Sequence[PlannedRequest], capacity: float, seconds: float, factor: int = 50
) -> tuple[Phase, Phase]:
    """Ten tenants of one class that keep the workers busy to six tenths; then one of them asks `factor` times as much."""
    rate = 0.6 * capacity / 10
    with platform(penstock, sim) as made:
        quiet = [made.key_of(f"quiet-{n}", "premium") for n in range(9)]
        loud = made.key_of("loud", "premium")
        source = Source(given, {})

        async def both() -> tuple[Phase, Phase]:
            gun = Gun(made.port)
            found = []
            for name, times in (("calm", 1), ("noisy", factor)):
                parts: list[Iterable[Shot]] = [source.steady("quiet", key, rate, seconds) for key in quiet]
                parts.append(source.steady("loud", loud, rate * times, seconds))
                shots = sorted((one for part in parts for one in part), key=lambda one: one.at)
                found.append(await _phase(made, gun, name, rate * (9 + times), seconds, shots))
                await asyncio.sleep(_REST_SECONDS)
            gun.close()
            return found[0], found[1]

        return _run(both())


def outage(penstock: Path, given: Sequence[PlannedRequest], seconds: float = 10.0, rate: float = 40.0) -> tuple[Phase, float]:
    """Every upstream answers 500 at once; the attempts that it saw for each request."""

    async def all_of_it() -> tuple[Phase, float]:
        seen = 0

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    lower = head.lower()
                    at = lower.find(b"content-length:")
                    if at >= 0:
                        await reader.readexactly(int(lower[at + 15 :].split(b"\r\n")[0]))
                    if lower.startswith(b"post"):
                        seen += 1
                        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                    else:
                        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_MODELS)
                        writer.write(head + _MODELS)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        servers = [await asyncio.start_server(refuse, "127.0.0.1", 0) for _ in range(4)]
        urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        try:
            phase = await asyncio.to_thread(_asked, urls)
        finally:
            for server in servers:
                server.close()
        return phase, seen / len(phase.hits)

    def _asked(urls: Sequence[str]) -> Phase:
        with platform(penstock, Sim(), upstreams=urls) as made:
            source = Source(given, {})
            shots = list(source.steady("free", made.key, rate, seconds))
            return _run(_phase(made, Gun(made.port), "outage", rate, seconds, shots))

    return _run(all_of_it())


def _run(body: Coroutine[Any, Any, T]) -> T:
    """On the fast loop: the client must not be what is late."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body)
