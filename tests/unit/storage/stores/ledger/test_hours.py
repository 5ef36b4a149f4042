"""Spans of time as whole hours, of which there are sums, and parts of an hour at the edges."""

import pytest

from penstock.storage.stores.ledger.hours import Span, day_name, span

HOUR = 3600.0
NOTHING = Span(0, 0, ())


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, Span(None, None, ())),
        (2 * HOUR, None, Span(2, None, ())),
        (2 * HOUR + 1, None, Span(3, None, ((2 * HOUR + 1, 3 * HOUR, 2),))),
        (None, 5 * HOUR, Span(None, 5, ())),
        (None, 5 * HOUR + 1, Span(None, 5, ((5 * HOUR, 5 * HOUR + 1, 5),))),
        (2 * HOUR, 5 * HOUR, Span(2, 5, ())),
        (2 * HOUR + 1, 5 * HOUR + 1, Span(3, 5, ((2 * HOUR + 1, 3 * HOUR, 2), (5 * HOUR, 5 * HOUR + 1, 5)))),
        (2 * HOUR + 1, 2 * HOUR + 9, Span(0, 0, ((2 * HOUR + 1, 2 * HOUR + 9, 2),))),
        (2 * HOUR, 2 * HOUR + 9, Span(0, 0, ((2 * HOUR, 2 * HOUR + 9, 2),))),
        (2 * HOUR, 2 * HOUR, NOTHING),
        (2 * HOUR + 1, 2 * HOUR + 1, NOTHING),
        (5 * HOUR, 2 * HOUR, NOTHING),
    ],
)
def test_span_is_whole_hours_and_the_parts_at_its_edges(since: float | None, until: float | None, expected: Span) -> None:
    assert span(since, until) == expected


def test_times_outside_the_calendar_are_moved_to_its_ends() -> None:
    assert span(-1e18, 1e18) == Span(0, 70_389_527, ((70_389_527 * HOUR, 253_402_300_799.0, 70_389_527),))


@pytest.mark.parametrize(("day", "name"), [(0, "1970-01-01"), (20_787, "2026-11-30"), (2_932_896, "9999-12-31")])
def test_day_has_its_name_of_the_calendar(day: int, name: str) -> None:
    assert day_name(day) == name
