"""A runner: claims tasks as fast as it can run them, sends heartbeats, and reports the completion of each.

Everything is fenced by the lease: a runner that was silent for too long learns it, stops what it runs and reports nothing about it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

import structlog

from penstock.base.moments import Moment
from penstock.domain.clock import Clock
from penstock.domain.durable.leases import HEARTBEAT_SECONDS, HeartbeatReply, Lease, LeaseRef
from penstock.domain.errors import PortUnavailable
from penstock.durable.tasks.outcome import AttemptFailed, Cancelled, Released, TaskOutcome, completion_of
from penstock.net.join_client import JoinRefused
from penstock.processes.runner.completion_outbox import CompletionOutbox
from penstock.processes.runner.held_leases import HeldLease, HeldLeases, StopReason
from penstock.processes.runner.link import Link, RunnerInfo
from penstock.processes.runner.slots import SlotPlan, TaskSlots
from penstock.processes.runner.task_kind import RunningAttempt, TaskKind

log = structlog.get_logger("penstock.runner")
CLAIM_WAIT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 3.0
_BETWEEN_HEARTBEATS_SECONDS = 0.05
_MOST_AT_ONCE = 500
_CANCEL_AGAIN_SECONDS = 2.0
_OUTPUT_SECONDS = 2.0


class Runner:
    """`open`, `run` until `stop` was called or for ever, `close`."""

    def __init__(
        self,
        link: Link,
        kinds: Mapping[str, TaskKind],
        plans: Sequence[SlotPlan],
        name: str,
        version: str,
        clock: Clock,
        random: Random,
        drain_seconds: float = 30.0,
    ) -> None:
        self._link = link
        self._kinds = kinds
        self._groups = [TaskSlots(plan) for plan in plans]
        self._queued: dict[TaskSlots, deque[HeldLease]] = {group: deque() for group in self._groups}
        self._name = name
        self._version = version
        self._clock = clock
        self._random = random
        self._drain_seconds = drain_seconds
        self._held_leases = HeldLeases()
        self._outbox = CompletionOutbox(link, self._held_leases.remove, random)
        self._freed = {group: asyncio.Event() for group in self._groups}
        self._stopping = asyncio.Event()
        self._paused = False
        self._joined = asyncio.Event()
        self.id = ""
        self.joined = Moment()
        """The gateway has given this runner an id."""

    @property
    def running(self) -> int:
        return sum(group.running for group in self._groups)

    @property
    def stale(self) -> int:
        """Completions that came too late, and were refused."""
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
        """Claim nothing new, let running tasks finish within `drain_seconds`, release the rest."""
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped. Raises what the link raises for a refusal that stays."""
        await self._join()
        senders = [asyncio.create_task(send()) for send in (self._outbox.send, self._outbox.send_progress, self._report_output)]
        heartbeats = asyncio.create_task(self._send_heartbeats())
        claiming = [asyncio.create_task(self._claim_repeatedly(group)) for group in self._groups]
        stopped = asyncio.create_task(self._stopping.wait())
        everything = [*senders, heartbeats, *claiming]
        try:
            done, _ = await asyncio.wait([*everything, stopped], return_when=asyncio.FIRST_COMPLETED)
            await _cancel_all(claiming)
            for task in done - {stopped}:
                task.result()
            await self._drain()
        finally:
            stopped.cancel()
            for held_lease in self._held_leases.each():
                self._stop(held_lease, StopReason.LOST)
            await _cancel_all(everything)

    # joining

    async def _join(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                self.id = await self._link.join(self._info())
            except PortUnavailable as error:
                log.warning("not_joined_yet", reason=str(error))
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self.joined.tell()
                log.info("joined", runner=self.id, name=self._name, kinds=self._info().kinds)
                self._joined.set()
                return

    def _info(self) -> RunnerInfo:
        queues = {queue for group in self._groups for queue in group.plan.queues}
        every = any(not group.plan.queues for group in self._groups)
        kinds = self._abilities(tuple(self._kinds))
        functions = next((kind.functions for kind in self._kinds.values() if kind.functions != "[]"), "[]")
        slots = sum(group.plan.slots for group in self._groups)
        return RunnerInfo(self._name, () if every else tuple(sorted(queues)), slots, kinds, functions, self._version)

    def _abilities(self, kinds: Sequence[str]) -> tuple[str, ...]:
        return tuple(ability for kind in kinds if kind in self._kinds for ability in self._kinds[kind].abilities)

    async def _rejoin(self) -> None:
        """The gateway has given up this runner: its tasks run elsewhere by now, or will."""
        log.warning("runner_forgotten_by_gateway", runner=self.id, held=len(self._held_leases))
        self._joined.clear()
        for held_lease in self._held_leases.clear():
            log.warning("lease_lost", task=held_lease.lease.task_id, lease=held_lease.lease.lease_seq)
            self._stop(held_lease, StopReason.LOST)
        self._outbox.forget()
        await self._join()

    # claiming

    async def _claim_repeatedly(self, group: TaskSlots) -> None:
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
                log.info("claim_unavailable", reason=str(error))
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except Exception:  # a fault of ours or of the store must not end the runner
                log.exception("claim_failed")
                await self._pause(_LONGEST_PAUSE_SECONDS)

    def _take(self, group: TaskSlots, lease: Lease) -> None:
        held_lease = self._held_leases.add(lease)
        if group.has_free_slot:
            self._start(group, held_lease)
        else:
            group.waiting += 1
            self._queued[group].append(held_lease)

    # running

    def _start(self, group: TaskSlots, held_lease: HeldLease) -> None:
        group.running += 1
        held_lease.running = asyncio.get_running_loop().create_task(self._work(group, held_lease))

    async def _work(self, group: TaskSlots, held_lease: HeldLease) -> None:
        lease, started = held_lease.lease, self._clock.monotonic()
        outcome: TaskOutcome
        try:
            outcome = await self._execute(held_lease)
        except asyncio.CancelledError:
            outcome = Cancelled() if held_lease.stop is StopReason.CANCELLED else Released()
        except Exception as error:
            log.exception("kind_failed", task=lease.task_id, kind=lease.kind)
            outcome = AttemptFailed("runner_error", f"The runner could not run this task: {type(error).__name__}.")
        group.running -= 1
        group.record_duration(self._clock.monotonic() - started)
        held_lease.running, held_lease.ended = None, True
        if held_lease.stop is not StopReason.LOST:
            output = None if held_lease.attempt is None else held_lease.attempt.output
            self._outbox.put(completion_of(lease, outcome, self._link.now(), self._random, output))
        self._next(group)

    async def _execute(self, held_lease: HeldLease) -> TaskOutcome:
        lease = held_lease.lease
        kind = self._kinds.get(lease.kind)
        if kind is None:
            return AttemptFailed("unknown_kind", f"This runner runs no tasks of the kind '{lease.kind}'.")

        def report(value: str) -> None:
            if not held_lease.ended:
                self._outbox.report(lease.task_id, lease.lease_seq, value)

        attempt = held_lease.attempt = RunningAttempt(report, lease.timeout_seconds)
        try:
            async with attempt.timeout() as limit:
                return await kind.run(lease, attempt)
        except TimeoutError:
            if not limit.expired() or lease.timeout_seconds is None:
                raise
            return AttemptFailed("timeout", f"The attempt took longer than {lease.timeout_seconds:g} s.")

    def _next(self, group: TaskSlots) -> None:
        queued = self._queued[group]
        while queued and group.has_free_slot and not self._stopping.is_set():
            held_lease = queued.popleft()
            group.waiting -= 1
            if not held_lease.ended:
                self._start(group, held_lease)
        self._freed[group].set()

    def _stop(self, held_lease: HeldLease, reason: StopReason) -> None:
        if held_lease.ended or held_lease.stop is not None:
            return
        held_lease.stop = reason
        if held_lease.running is not None:
            held_lease.running.cancel()
            return
        # It waits for a slot; `_next` passes over it.
        held_lease.ended = True
        if reason is not StopReason.LOST:
            outcome = Cancelled() if reason is StopReason.CANCELLED else Released()
            self._outbox.put(completion_of(held_lease.lease, outcome, self._link.now(), self._random))

    async def _report_output(self) -> None:
        """What running tasks print, so that it can be read meanwhile, and is there when this runner ends by force."""
        while True:
            await asyncio.sleep(_OUTPUT_SECONDS)
            for held_lease in self._held_leases.each():
                attempt = held_lease.attempt
                if attempt is None or held_lease.ended or attempt.printed is None or not attempt.printed.take_new():
                    continue
                if (output := attempt.output) is not None:
                    self._outbox.report_output(held_lease.lease.task_id, held_lease.lease.lease_seq, output)

    # heartbeats

    async def _send_heartbeats(self) -> None:
        pause = HEARTBEAT_SECONDS / 4
        while True:
            try:
                reply = await self._link.heartbeat(self._held_leases.refs(), self._held_leases.waiting_refs())
                if not reply.known:
                    await self._rejoin()
                    continue
                self._apply(reply)
                await asyncio.sleep(_BETWEEN_HEARTBEATS_SECONDS)
                await self._link.news(HEARTBEAT_SECONDS)
            except PortUnavailable as error:
                log.info("heartbeat_failed", reason=str(error))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            except JoinRefused:
                raise
            except Exception:
                log.exception("heartbeat_error")
                await asyncio.sleep(pause)

    def _apply(self, reply: HeartbeatReply) -> None:
        for refs, reason in [(reply.cancelled, StopReason.CANCELLED), (reply.lost, StopReason.LOST)]:
            for ref in refs:
                self._stop_ref(ref, reason)
        if reply.draining != self._paused:
            log.info("drain_requested" if reply.draining else "resume_requested")
            self._paused = reply.draining
            for freed in self._freed.values():
                freed.set()

    def _stop_ref(self, ref: LeaseRef, reason: StopReason) -> None:
        held_lease = self._held_leases.get(ref)
        if held_lease is None:
            return
        self._stop(held_lease, reason)
        if reason is StopReason.LOST:
            log.warning("lease_lost", task=ref.task_id, lease=ref.lease_seq)
            self._held_leases.remove(ref.task_id, ref.lease_seq)

    # shutdown

    async def _drain(self) -> None:
        log.info("draining", running=self.running, held=len(self._held_leases))
        for held_lease in self._held_leases.each():
            if held_lease.is_waiting:
                self._stop(held_lease, StopReason.DRAINING)
        running = [held_lease.running for held_lease in self._held_leases.each() if held_lease.running is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=self._drain_seconds)
            for held_lease in self._held_leases.each():
                self._stop(held_lease, StopReason.DRAINING)
            if late:
                await asyncio.wait(late)
        try:
            async with asyncio.timeout(_LONGEST_PAUSE_SECONDS):
                await self._outbox.flush()
                await self._link.leave()
        except (TimeoutError, PortUnavailable) as error:
            log.warning("leave_failed", reason=str(error) or "it took too long")

    async def _pause(self, seconds: float) -> None:
        """Cut short by `stop`."""
        try:
            async with asyncio.timeout(seconds * self._random.uniform(0.5, 1.0)):
                await self._stopping.wait()
        except TimeoutError:
            pass


async def _cancel_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: a driver whose connection breaks meanwhile raises that error, and the cancellation is lost."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
