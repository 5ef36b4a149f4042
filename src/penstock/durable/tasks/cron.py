"""Cron expressions: five fields, names, time zones, daylight saving; one that never fires is refused.

A time that the clocks skip in spring fires as much later as they jump; one that they show twice in autumn fires once, unless the hour
field is `*` or `*/n`: then the expression means an interval and keeps it. When both day fields are restricted, either is enough, as in
every cron.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from penstock.domain.errors import Unprocessable

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_EXPRESSION = 256
_HORIZON_DAYS = 8 * 366 + 1
"""29 February can be eight years away (1896 to 1904, 2096 to 2104); what has not fired by then never will."""


class BadSchedule(Unprocessable):
    """The expression or the time zone cannot be understood, or it never fires."""

    code = "bad_schedule"


@dataclass(frozen=True, slots=True)
class Cron:
    """What the five fields allow."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both day fields are restricted: one of them is enough."""
    every_hour: bool
    """The hour field is an interval, which goes on when clocks are set back."""

    def allows(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week


def parse(expression: str) -> Cron:
    """Raises BadSchedule that says which field is wrong."""
    if len(expression) > _LONGEST_EXPRESSION:
        raise BadSchedule(f"A cron expression has at most {_LONGEST_EXPRESSION} characters.", param="cron")
    text = expression.strip().lower()
    fields = _SHORTHANDS.get(text, text).split()
    if len(fields) != len(_FIELDS):
        raise BadSchedule("A cron expression has five fields: minute, hour, day of the month, month, day of the week.", param="cron")
    sets = [_values(text, *field) for text, field in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = sets
    cron = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        every_hour=fields[1].startswith("*"),
    )
    if not any(cron.allows(date(2096, 1, 1) + timedelta(days=number)) for number in range(_HORIZON_DAYS)):
        raise BadSchedule(f"'{expression.strip()}' never fires: no month has such a day.", param="cron")
    return cron


def zone(name: str) -> ZoneInfo:
    """Raises BadSchedule."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSchedule(f"'{name[:64]}' is not a time zone of the IANA database, such as Europe/Berlin.", param="time_zone") from None


def next_after(cron: Cron, tz: ZoneInfo, after: float) -> float:
    """The first time to fire later than `after`; both in Unix seconds."""
    return next(fires_after(cron, tz, after))


def fires_after(cron: Cron, tz: ZoneInfo, after: float) -> Iterator[float]:
    """All the times to fire later than `after`, in order."""
    day = datetime.fromtimestamp(after, tz).date() - timedelta(days=1)  # a time that clocks skip may fire on the next day
    last = after
    while True:
        for fire in _of_day(cron, tz, day):
            if fire > last:
                last = fire
                yield fire
        day += timedelta(days=1)


def _of_day(cron: Cron, tz: ZoneInfo, day: date) -> list[float]:
    if not cron.allows(day):
        return []
    times: set[float] = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute), tz)
            times.add(local.astimezone(UTC).timestamp())
            if cron.every_hour and _is_shown_twice(local):
                times.add(local.replace(fold=1).astimezone(UTC).timestamp())
    return sorted(times)


def _is_shown_twice(local: datetime) -> bool:
    first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
    return first is not None and second is not None and first > second


def _values(text: str, name: str, lowest: int, highest: int, names: tuple[str, ...]) -> set[int]:
    """What one field allows: `*`, `5`, `1-5`, `*/15`, `10-40/10`, `mon-fri`, and lists of them."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, highest, ()) if slash else 1
        if span == "*":
            first, last = lowest, highest
        else:
            low, dash, high = span.partition("-")
            first = _number(low, name, lowest, highest, names)
            last = _number(high, name, lowest, highest, names) if dash else (highest if slash else first)
        if first > last:
            raise BadSchedule(f"The {name} field has a range that runs backwards: '{part[:32]}'.", param="cron")
        found.update(range(first, last + 1, step))
    return found


def _number(text: str, name: str, lowest: int, highest: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + (1 if names is _MONTHS else 0)
    if not text.isascii() or not text.isdigit() or not lowest <= int(text[:6]) <= highest:
        raise BadSchedule(f"The {name} field has '{text[:32]}' where {lowest} to {highest} is expected.", param="cron")
    return int(text)
