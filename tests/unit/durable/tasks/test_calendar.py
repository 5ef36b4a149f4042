"""Which runs a schedule makes when somebody looks, above all when nobody did for a while."""

from datetime import UTC, datetime

import pytest

from penstock.domain.durable.schedules import MissedRuns, Schedule
from penstock.durable.tasks import calendar
from penstock.durable.tasks.calendar import MOST_MADE_UP, runs_due, spec_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0


def schedule(missed: MissedRuns, next_at: float, cron: str = "0 * * * *") -> Schedule:
    task = '{"name": "tidy", "payload": {"deep": true}, "delay_seconds": 5, "idempotency_key": "mine"}'
    return Schedule("sch_1", "org", "key", "nightly", cron, "UTC", missed, task, 0.0, next_at)


@pytest.mark.parametrize(
    ("missed", "runs"),
    [
        (MissedRuns.ONE, [NOON - 3 * HOUR]),
        (MissedRuns.ALL, [NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR, NOON]),
        (MissedRuns.SKIP, [NOON]),
    ],
)
def test_three_missed_runs_and_one_that_is_due(missed: MissedRuns, runs: list[float]) -> None:
    assert runs_due(schedule(missed, NOON - 3 * HOUR), NOON + 1.0) == (runs, NOON + HOUR)


def test_missed_runs_are_skipped_when_none_is_due_now() -> None:
    assert runs_due(schedule(MissedRuns.SKIP, NOON - 3 * HOUR), NOON + 1800.0) == ([], NOON + HOUR)


def test_run_in_time_is_made_once_under_every_missed_policy() -> None:
    for missed in MissedRuns:
        assert runs_due(schedule(missed, NOON), NOON + 0.2) == ([NOON], NOON + HOUR)


def test_missed_runs_are_made_up_for_at_most_to_a_limit() -> None:
    runs, next_at = runs_due(schedule(MissedRuns.ALL, NOON - 30 * 86_400, "* * * * *"), NOON)
    assert runs == [NOON - 60 * back for back in range(MOST_MADE_UP)][::-1], "the newest"
    assert next_at == NOON + 60


@pytest.mark.parametrize("days", [10, 400, 1_500])
def test_all_missed_runs_of_a_rare_schedule_are_made_up_for(days: int) -> None:
    runs, _ = runs_due(schedule(MissedRuns.ALL, NOON - days * 86_400, "0 12 * * *"), NOON + 5)
    assert runs == [NOON - 86_400 * back for back in range(min(days + 1, MOST_MADE_UP))][::-1]


def test_each_run_has_a_key_of_its_own_and_no_delay() -> None:
    spec = spec_of(schedule(MissedRuns.ONE, NOON), NOON)
    assert (spec.name, spec.idempotency_key, spec.delay_seconds) == ("tidy", f"schedule:sch_1:{int(NOON)}", None)


def test_the_first_run_is_in_the_schedules_own_zone() -> None:
    assert datetime.fromtimestamp(calendar.first_at("0 9 * * *", "Asia/Tokyo", NOON), UTC).hour == 0
