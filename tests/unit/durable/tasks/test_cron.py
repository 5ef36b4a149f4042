"""Cron expressions: against the clock, over the changes of the clock, and those that are none."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.durable.tasks import cron
from penstock.durable.tasks.cron import BadSchedule

BERLIN = ZoneInfo("Europe/Berlin")


def fires(expression: str, after: str, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    start = datetime.fromisoformat(after).replace(tzinfo=zone).timestamp()
    found = islice(cron.fires_after(cron.parse(expression), zone, start), count)
    return [datetime.fromtimestamp(at, zone).isoformat() for at in found]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/20 9 * * *", "2026-01-05T09:10", ["2026-01-05T09:20", "2026-01-05T09:40", "2026-01-06T09:00"]),
        ("0 12 * * mon-fri", "2026-01-09T12:00", ["2026-01-12T12:00", "2026-01-13T12:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 31 * *", "2026-01-31T00:00", ["2026-03-31T00:00", "2026-05-31T00:00"]),
        ("0 0 1 * 0", "2026-01-31T00:00", ["2026-02-01T00:00", "2026-02-08T00:00"]),
        ("0 0 * * 7", "2026-01-31T00:00", ["2026-02-01T00:00"]),
        ("5,10-14/2 0 1 jan *", "2026-06-01T00:00", ["2027-01-01T00:05", "2027-01-01T00:10", "2027-01-01T00:12", "2027-01-01T00:14"]),
        ("@hourly", "2026-01-01T00:30", ["2026-01-01T01:00"]),
    ],
)
def test_expression_fires_at_the_expected_times(expression: str, after: str, expected: list[str]) -> None:
    assert fires(expression, after, len(expected)) == [f"{at}:00+01:00" if at[5:7] in ("01", "02") else fires_at(at) for at in expected]


def fires_at(local: str) -> str:
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN).isoformat()


def test_a_time_that_the_clocks_skip_fires_after_the_gap_and_once() -> None:
    assert fires("30 2 * * *", "2026-03-28T12:00", 2) == ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"]
    assert fires("30 1-3 * * *", "2026-03-28T12:00", 3) == [
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T03:30:00+02:00",
        "2026-03-30T01:30:00+02:00",
    ]


def test_a_time_that_the_clocks_show_twice_fires_once_and_an_interval_goes_on() -> None:
    assert fires("30 2 * * *", "2026-10-24T12:00", 2) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert fires("30 * * * *", "2026-10-25T01:00", 4) == [
        "2026-10-25T01:30:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:30:00+01:00",
    ]


def test_a_zone_where_a_day_was_left_out() -> None:
    """Samoa went from 29 to 31 December 2011: midnight of the 30th never was, and it fires once, not twice."""
    apia = ZoneInfo("Pacific/Apia")
    found = fires("0 0 * * *", "2011-12-28T12:00", 3, apia)
    assert found == ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "2012-01-01T00:00:00+14:00"]


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(0, 10**8),
)
@settings(max_examples=60, deadline=None)
def test_a_daily_time_fires_once_a_day(minute: int, hour: int, zone: str, offset: int) -> None:
    tz = ZoneInfo(zone)
    start = datetime(2024, 1, 1, tzinfo=UTC).timestamp() + offset
    found = list(islice(cron.fires_after(cron.parse(f"{minute} {hour} * * *"), tz, start), 30))
    days = [datetime.fromtimestamp(at, tz).date() for at in found]
    assert found == sorted(set(found))
    assert all(later - earlier in (timedelta(0), timedelta(1), timedelta(2)) for earlier, later in pairwise(days))
    assert all(20 * 3600 < later - earlier < 28 * 3600 for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("60 * * * *", "minute field has '60'"),
        ("* 24 * * *", "hour field"),
        ("* * 0 * *", "day of the month"),
        ("* * * 13 *", "month field"),
        ("* * * * 8", "day of the week"),
        ("* * * *", "five fields"),
        ("", "five fields"),
        ("5-1 * * * *", "runs backwards"),
        ("*/0 * * * *", "minute field"),
        ("a * * * *", "minute field has 'a'"),
        ("1,, * * * *", "minute field has ''"),
        ("*" * 300, "at most 256"),
    ],
)
def test_invalid_expression_is_refused(expression: str, words: str) -> None:
    with pytest.raises(BadSchedule, match=words):
        cron.parse(expression)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "a" * 200])
def test_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(BadSchedule, match="time zone"):
        cron.zone(name)
