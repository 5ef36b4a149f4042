"""Durations and dates."""

from datetime import UTC, datetime

import pytest

from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.moments import date, duration_seconds, millis, moment, month_span, spoken

NOW = 1_767_225_600.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("90d", 7776000), ("2w", 1209600), ("1d12h", 129600), ("1.5h", 5400)]
)
def test_duration_seconds_reads_units_and_sums(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1 d", "0s", "1y", "7dd", "99999999w", "1d,2h"])
def test_invalid_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(Failed) as raised:
        duration_seconds(text)
    assert raised.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", NOW - 604800),
        ("2026-01-01", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("2026-01-01 00:00", NOW),
    ],
)
def test_moment_reads_dates_times_and_ages(text: str, seconds: float) -> None:
    assert moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", ""])
def test_invalid_moment_is_a_usage_error(text: str) -> None:
    with pytest.raises(Failed):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.2 s"), (1, "1 s"), (365, "6 m 5 s"), (7200, "2 h"), (90061, "1 d 1 h"), (-3, "0.0 s")]
)
def test_spoken_uses_two_units_at_most(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_dates_are_in_utc_and_may_be_absent() -> None:
    assert (date(NOW), date(None)) == ("2026-01-01 00:00Z", "")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("this", ("2026-01-01", "2026-02-01")),
        ("last", ("2025-12-01", "2026-01-01")),
        ("2025-12", ("2025-12-01", "2026-01-01")),
        ("2024-02", ("2024-02-01", "2024-03-01")),
    ],
)
def test_month_is_its_first_moment_and_that_of_the_next(text: str, span: tuple[str, str]) -> None:
    now = datetime(2026, 1, 31, 23, 59, tzinfo=UTC).timestamp()
    assert month_span(text, now) == tuple(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() for day in span)


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "next", ""])
def test_text_that_is_no_month_is_a_usage_error(text: str) -> None:
    with pytest.raises(Failed, match="is not a month"):
        month_span(text, 0.0)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0 ms"), (45.4, "45 ms"), (1000, "1.00 s"), (6830.2, "6.83 s"), (125_000, "2 m 5 s")]
)
def test_duration_is_shown_with_three_figures_or_two_units(value: float | None, text: str) -> None:
    assert millis(value) == text
