"""The regular work of a gateway on tasks: due tasks, lost leases, silent runners, schedules, statistics, deletion."""

from random import Random

import structlog

from penstock.domain.durable.leases import LEASE_SECONDS, ExpiredLease
from penstock.domain.ports import TaskStore
from penstock.durable.tasks.calendar import Calendar
from penstock.durable.tasks.outcome import AttemptFailed, Cancelled, TaskOutcome, completion_of

log = structlog.get_logger("penstock.sweeper")
PROMOTE_SECONDS = 0.2
SWEEP_SECONDS = 1.0
ROLL_UP_SECONDS = 2.0
TIDY_SECONDS = 60.0
_SILENT_SECONDS = 600.0
_MOST_AT_ONCE = 1_000
_REASONS = {
    "lease_lost": "The runner that had this task was not heard of any more (it crashed, or lost its network).",
    "timeout": "The attempt took longer than its timeout, and its runner did not end it.",
}


class Sweeper:
    """Every gateway has one: each of its steps is safe beside others, because what it moves it moves by a guard of the store."""

    def __init__(self, store: TaskStore, calendar: Calendar, random: Random) -> None:
        self._store = store
        self._calendar = calendar
        self._random = random

    async def promote(self) -> None:
        """Tasks whose time has come, and schedules that are due."""
        await self._store.promote()
        await self._calendar.fire_due()

    async def end_lost_leases(self) -> int:
        """A crash counts as an attempt. How many leases were ended."""
        ended = 0
        while expired := await self._store.expired_leases(_MOST_AT_ONCE):
            by_runner: dict[str, list[ExpiredLease]] = {}
            for lease in expired:
                by_runner.setdefault(lease.runner_id, []).append(lease)
            for runner_id, leases in by_runner.items():
                now = self._store.now()
                statuses = await self._store.finish(
                    runner_id, [completion_of(lease, _outcome_of(lease), now, self._random) for lease in leases]
                )
                ended += sum(status is not None for status in statuses)
                log.warning("leases_ended", runner=runner_id, count=len(leases), reason=leases[0].reason, silent_after=LEASE_SECONDS)
            if len(expired) < _MOST_AT_ONCE:
                break
        return ended

    async def roll_up(self) -> None:
        while await self._store.roll_up():
            pass

    async def tidy(self) -> None:
        """Delete what was to be kept until now, and runners that are long gone."""
        while await self._store.delete_kept(_MOST_AT_ONCE) == _MOST_AT_ONCE:
            pass
        await self._store.forget_silent_runners(_SILENT_SECONDS)


def _outcome_of(lease: ExpiredLease) -> TaskOutcome:
    if lease.cancel_requested:
        return Cancelled()
    return AttemptFailed(lease.reason, _REASONS.get(lease.reason, lease.reason))
