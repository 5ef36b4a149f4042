"""Schedules: checked when they are written, and fired when they are due, each run once however many gateways there are."""

from collections.abc import Callable
from itertools import takewhile
from zoneinfo import ZoneInfo

import msgspec
import structlog

from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.domain.errors import PenstockError
from penstock.domain.ports import TaskStore
from penstock.domain.principal import stored_actor
from penstock.durable.tasks import cron
from penstock.durable.tasks.cron import BadSchedule
from penstock.durable.tasks.function_registry import FunctionRegistry
from penstock.durable.tasks.submission import Submitter, TaskSpec, new_tasks

log = structlog.get_logger("penstock.schedules")
MOST_MADE_UP = 1_000
"""Missed runs that are made up for at once, the newest; older ones are left out."""
_SHORTEST_SECONDS = 60.0
"""Between two runs."""
_LATE_SECONDS = 60.0
"""A run that is this late was missed; below that it is just a slow moment."""
_MOST_AT_ONCE = 100


def first_at(expression: str, time_zone: str, now: float) -> float:
    """When a schedule that begins now fires first. Raises BadSchedule."""
    return cron.next_after(cron.parse(expression), cron.zone(time_zone), now)


def runs_due(schedule: Schedule, now: float) -> tuple[list[float], float]:
    """The runs to be made now, and when the next one is due. The schedule's `next_at` has come."""
    assert schedule.next_at is not None
    rule, zone = cron.parse(schedule.cron), cron.zone(schedule.time_zone)
    next_at = cron.next_after(rule, zone, now)
    if schedule.missed is MissedRuns.ALL:
        return _newest_runs(rule, zone, schedule.next_at, now), next_at
    if schedule.missed is MissedRuns.SKIP and schedule.next_at < now - _LATE_SECONDS:
        # Only the run of this minute, if there is one, is not missed.
        recent = list(takewhile(lambda at: at <= now, cron.fires_after(rule, zone, now - _LATE_SECONDS)))
        return recent[-1:], next_at
    return [schedule.next_at], next_at


def _newest_runs(rule: cron.Cron, zone: ZoneInfo, first: float, now: float) -> list[float]:
    """The last MOST_MADE_UP runs from `first` to `now`: looked for in longer and longer spans before now, not from a year ago on."""
    span = MOST_MADE_UP * _SHORTEST_SECONDS
    while True:
        start = max(first, now - span)
        runs = list(takewhile(lambda at: at <= now, cron.fires_after(rule, zone, start)))
        if start == first:
            runs.insert(0, first)
        if start == first or len(runs) >= MOST_MADE_UP:
            return runs[-MOST_MADE_UP:]
        span *= 2


def spec_of(schedule: Schedule, run_at: float) -> TaskSpec:
    """The task of one run; its idempotency key says which, so that it exists once. Raises msgspec.ValidationError."""
    spec = msgspec.json.decode(schedule.task, type=TaskSpec)
    return msgspec.structs.replace(spec, idempotency_key=f"schedule:{schedule.id}:{int(run_at)}", run_at=None, delay_seconds=None)


class Calendar:
    """Fires what is due. Any number of gateways may do it: the store lets one of them move a schedule on."""

    def __init__(self, store: TaskStore, functions: FunctionRegistry, next_id: Callable[[float], str]) -> None:
        """`functions`: whose defaults the tasks of a schedule get, as every other submission."""
        self._store = store
        self._functions = functions
        self._next_id = next_id

    async def fire_due(self) -> int:
        """How many runs were made. Raises PortUnavailable."""
        made = 0
        for schedule in await self._store.due_schedules(_MOST_AT_ONCE):
            try:
                made += await self._fire(schedule)
            except (PenstockError, msgspec.MsgspecError) as error:
                log.warning("schedule_cannot_fire", schedule=schedule.id, name=schedule.name, reason=str(error))
                await self._move_on(schedule)
        return made

    async def _fire(self, schedule: Schedule) -> int:
        now = self._store.now()
        runs, next_at = runs_due(schedule, now)
        submitter = Submitter(schedule.org_id, stored_actor(schedule.org_id, schedule.key_id), self._next_id)
        await self._functions.refresh()
        policy = self._functions.policy_for(schedule.org_id)
        tasks = [task for run in runs for task in new_tasks([spec_of(schedule, run)], submitter, now, policy)]
        if not await self._store.fire(schedule, next_at, tasks):
            return 0  # another gateway was faster, or it was edited
        log.info("schedule_fired", schedule=schedule.id, name=schedule.name, runs=len(tasks), next_at=next_at)
        return len(tasks)

    async def _move_on(self, schedule: Schedule) -> None:
        """What cannot fire must not stand in the way of others for ever: it is tried again at its next time."""
        try:
            next_at: float | None = first_at(schedule.cron, schedule.time_zone, self._store.now())
        except BadSchedule:
            next_at = None
        await self._store.fire(schedule, next_at, [])
