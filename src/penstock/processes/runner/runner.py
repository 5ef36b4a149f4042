"""A runner: takes tasks by lease as fast as it can run them, shows that it lives, tells what became of each.

Whatever it does is fenced by the lease: a runner that was away for too long is told so, stops what it runs and says nothing about it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

import structlog

from penstock.domain.clock import Clock
from penstock.domain.durable.leases import HEARTBEAT_SECONDS, HeartbeatReply, Lease, LeaseRef
from penstock.domain.errors import PortUnavailable
from penstock.durable.tasks.outcome import AttemptFailed, Cancelled, Released, TaskOutcome, completion_of
from penstock.net.join_client import JoinRefused
from penstock.processes.runner.held import Holding, Holdings, Stop
from penstock.processes.runner.link import Card, Link
from penstock.processes.runner.outbox import Outbox
from penstock.processes.runner.slots import SlotPlan, Slots
from penstock.processes.runner.work import Kind

log = structlog.get_logger("penstock.runner")
CLAIM_WAIT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 3.0
_BETWEEN_BEATS_SECONDS = 0.05
_MOST_AT_ONCE = 500
_CANCEL_AGAIN_SECONDS = 2.0


class Runner:
    """`open`, `run` until `stop` was called or for ever, `close`."""

    def __init__(
        self,
        link: Link,
        kinds: Mapping[str, Kind],
        plans: Sequence[SlotPlan],
        name: str,
        version: str,
        clock: Clock,
        random: Random,
        drain_seconds: float = 30.0,
    ) -> None:
        self._link = link
        self._kinds = kinds
        self._groups = [Slots(plan) for plan in plans]
        self._queued: dict[Slots, deque[Holding]] = {group: deque() for group in self._groups}
        self._name = name
        self._version = version
        self._clock = clock
        self._random = random
        self._drain_seconds = drain_seconds
        self._holdings = Holdings()
        self._outbox = Outbox(link, self._holdings.remove, random)
        self._freed = {group: asyncio.Event() for group in self._groups}
        self._stopping = asyncio.Event()
        self._paused = False
        self._joined = asyncio.Event()
        self.id = ""

    @property
    def running(self) -> int:
        return sum(group.running for group in self._groups)

    @property
    def stale(self) -> int:
        """Ends that were told too late, and were refused."""
        return self._outbox.stale

    async def open(self) -> None:
        """Raises what a kind raises when it cannot work."""
        for kind in self._kinds.values():
            await kind.open()
        await self._link.open()

    async def close(self) -> None:
        await self._link.close()
        for kind in self._kinds.values():
            await kind.close()

    def stop(self) -> None:
        """Take nothing new, let what runs finish within the drain's time, give back the rest."""
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped. Raises what the link raises for a refusal that stays."""
        await self._join()
        senders = [asyncio.create_task(self._outbox.send()), asyncio.create_task(self._outbox.send_progress())]
        beating = asyncio.create_task(self._keep_beating())
        claiming = [asyncio.create_task(self._keep_claiming(group)) for group in self._groups]
        stopped = asyncio.create_task(self._stopping.wait())
        everything = [*senders, beating, *claiming]
        try:
            done, _ = await asyncio.wait([*everything, stopped], return_when=asyncio.FIRST_COMPLETED)
            await _end(claiming)
            for task in done - {stopped}:
                task.result()
            await self._drain()
        finally:
            stopped.cancel()
            for holding in self._holdings.each():
                self._stop(holding, Stop.LOST)
            await _end(everything)

    # joining

    async def _join(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                self.id = await self._link.join(self._card())
            except PortUnavailable as error:
                log.warning("not_joined_yet", reason=str(error))
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                log.info("joined", runner=self.id, name=self._name, kinds=self._card().kinds)
                self._joined.set()
                return

    def _card(self) -> Card:
        queues = {queue for group in self._groups for queue in group.plan.queues}
        every = any(not group.plan.queues for group in self._groups)
        kinds = self._abilities(tuple(self._kinds))
        functions = next((kind.offers for kind in self._kinds.values() if kind.offers != "[]"), "[]")
        slots = sum(group.plan.slots for group in self._groups)
        return Card(self._name, () if every else tuple(sorted(queues)), slots, kinds, functions, self._version)

    def _abilities(self, kinds: Sequence[str]) -> tuple[str, ...]:
        return tuple(ability for kind in kinds if kind in self._kinds for ability in self._kinds[kind].abilities)

    async def _rejoin(self) -> None:
        """Given up: whatever we hold runs somewhere else by now, or will."""
        log.warning("given_up", runner=self.id, held=len(self._holdings))
        self._joined.clear()
        for holding in self._holdings.clear():
            log.warning("lease_lost", task=holding.lease.task_id, lease=holding.lease.lease_seq)
            self._stop(holding, Stop.LOST)
        self._outbox.forget()
        await self._join()

    # claiming

    async def _keep_claiming(self, group: Slots) -> None:
        freed, pause = self._freed[group], 0.1
        abilities = self._abilities(group.plan.kinds)
        while not self._stopping.is_set():
            await self._joined.wait()
            freed.clear()
            wanted = 0 if self._paused else min(group.wanted, _MOST_AT_ONCE)
            if not wanted:
                await freed.wait()
                continue
            try:
                for lease in await self._link.claim(wanted, group.plan.queues, abilities, CLAIM_WAIT_SECONDS):
                    self._take(group, lease)
                pause = 0.1
            except PortUnavailable as error:
                log.info("no_claim", reason=str(error))
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except Exception:  # a mistake of ours or of the store's must not end a runner that others count on
                log.exception("claim_failed")
                await self._rest(_LONGEST_PAUSE_SECONDS)

    def _take(self, group: Slots, lease: Lease) -> None:
        holding = self._holdings.add(lease)
        if group.has_room:
            self._start(group, holding)
        else:
            group.waiting += 1
            self._queued[group].append(holding)

    # running

    def _start(self, group: Slots, holding: Holding) -> None:
        group.running += 1
        holding.running = asyncio.get_running_loop().create_task(self._work(group, holding))

    async def _work(self, group: Slots, holding: Holding) -> None:
        lease, started = holding.lease, self._clock.monotonic()
        ended: TaskOutcome
        try:
            ended = await self._outcome(lease)
        except asyncio.CancelledError:
            ended = Cancelled() if holding.stop is Stop.CANCELLED else Released()
        except Exception as error:
            log.exception("kind_failed", task=lease.task_id, kind=lease.kind)
            ended = AttemptFailed("runner_error", f"The runner could not run this task: {type(error).__name__}.")
        group.running -= 1
        group.took(self._clock.monotonic() - started)
        holding.running, holding.ended = None, True
        if holding.stop is not Stop.LOST:
            self._outbox.put(completion_of(lease, ended, self._link.now(), self._random))
        self._next(group)

    async def _outcome(self, lease: Lease) -> TaskOutcome:
        kind = self._kinds.get(lease.kind)
        if kind is None:
            return AttemptFailed("unknown_kind", f"This runner runs no tasks of the kind '{lease.kind}'.")

        def report(value: str) -> None:
            self._outbox.report(lease.task_id, lease.lease_seq, value)

        if lease.timeout_seconds is None:
            return await kind.run(lease, report)
        try:
            async with asyncio.timeout(lease.timeout_seconds) as limit:
                return await kind.run(lease, report)
        except TimeoutError:
            if not limit.expired():
                raise
            return AttemptFailed("timeout", f"The attempt took longer than {lease.timeout_seconds:g} s.")

    def _next(self, group: Slots) -> None:
        queued = self._queued[group]
        while queued and group.has_room and not self._stopping.is_set():
            holding = queued.popleft()
            group.waiting -= 1
            if not holding.ended:
                self._start(group, holding)
        self._freed[group].set()

    def _stop(self, holding: Holding, why: Stop) -> None:
        if holding.ended or holding.stop is not None:
            return
        holding.stop = why
        if holding.running is not None:
            holding.running.cancel()
            return
        # It waits for a slot; `_next` passes over it.
        holding.ended = True
        if why is not Stop.LOST:
            ended = Cancelled() if why is Stop.CANCELLED else Released()
            self._outbox.put(completion_of(holding.lease, ended, self._link.now(), self._random))

    # living

    async def _keep_beating(self) -> None:
        pause = HEARTBEAT_SECONDS / 4
        while True:
            try:
                beat = await self._link.heartbeat(self._holdings.named())
                if not beat.known:
                    await self._rejoin()
                    continue
                self._obey(beat)
                await asyncio.sleep(_BETWEEN_BEATS_SECONDS)
                await self._link.news(HEARTBEAT_SECONDS)
            except PortUnavailable as error:
                log.info("no_beat", reason=str(error))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            except JoinRefused:
                raise
            except Exception:
                log.exception("beat_failed")
                await asyncio.sleep(pause)

    def _obey(self, beat: HeartbeatReply) -> None:
        for named, why in [(beat.cancelled, Stop.CANCELLED), (beat.lost, Stop.LOST)]:
            for held in named:
                self._stop_named(held, why)
        if beat.draining != self._paused:
            log.info("an operator asked to drain" if beat.draining else "an operator asked to resume")
            self._paused = beat.draining
            for freed in self._freed.values():
                freed.set()

    def _stop_named(self, held: LeaseRef, why: Stop) -> None:
        holding = self._holdings.get(held)
        if holding is None:
            return
        self._stop(holding, why)
        if why is Stop.LOST:
            log.warning("lease_lost", task=held.task_id, lease=held.lease_seq)
            self._holdings.remove(held.task_id, held.lease_seq)

    # the end

    async def _drain(self) -> None:
        log.info("draining", running=self.running, held=len(self._holdings))
        for holding in self._holdings.each():
            if holding.waits:
                self._stop(holding, Stop.DRAINING)
        running = [holding.running for holding in self._holdings.each() if holding.running is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=self._drain_seconds)
            for holding in self._holdings.each():
                self._stop(holding, Stop.DRAINING)
            if late:
                await asyncio.wait(late)
        try:
            async with asyncio.timeout(_LONGEST_PAUSE_SECONDS):
                await self._outbox.emptied()
                await self._link.leave()
        except (TimeoutError, PortUnavailable) as error:
            log.warning("did not say goodbye", reason=str(error) or "it took too long")

    async def _rest(self, seconds: float) -> None:
        """Cut short by `stop`."""
        try:
            async with asyncio.timeout(seconds * self._random.uniform(0.5, 1.0)):
                await self._stopping.wait()
        except TimeoutError:
            pass


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancelled until they are over: a driver whose connection breaks while it is cancelled says that, and the cancellation is lost."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
