"""Durations and dates as people write them: `90d`, `12h`, `2026-08-01`; and as they read them."""

import re
from datetime import UTC, datetime

from penstock.cli.exits import ExitCode, Failed

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def duration_seconds(text: str) -> int:
    """Seconds of `45s`, `30m`, `12h`, `90d`, `2w` or a sum such as `1d12h`. Raises Failed (usage)."""
    parts = _DURATION.findall(text)
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 1 <= seconds < 1e10:
        raise Failed(f"{text!r} is not a duration; write it like 45s, 30m, 12h, 90d or 2w", ExitCode.USAGE)
    return int(seconds)


def moment(text: str, now: float) -> float:
    """Unix seconds of an ISO date or time (UTC unless it says otherwise), or of a duration before `now`. Raises Failed (usage)."""
    if _DURATION.match(text):
        return now - duration_seconds(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(f"{text!r} is neither a date like 2026-08-01 nor a duration like 7d", ExitCode.USAGE) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def spoken(seconds: float) -> str:
    """`1 s`, `6 m 5 s`, `2 h`, `3 d`: two units at most."""
    left = round(seconds)
    if left < 1:
        return f"{max(seconds, 0):.1f} s"
    words = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _UNIT_SECONDS[unit])
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2])


def date(seconds: float | None, *, seconds_too: bool = False, utc: bool = True) -> str:
    """Minutes in UTC, or in this machine's time; empty for None and 0."""
    if not seconds:
        return ""
    form = "%Y-%m-%d %H:%M:%S" if seconds_too else "%Y-%m-%d %H:%M"
    return f"{datetime.fromtimestamp(seconds, UTC):{form}}Z" if utc else f"{datetime.fromtimestamp(seconds, UTC).astimezone():{form}}"


def millis(value: float | None) -> str:
    """`45 ms`, `6.83 s`, `2 m 5 s`; empty for None."""
    if value is None:
        return ""
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.2f} s" if value < 60_000 else spoken(value / 1000)


def month_span(text: str, now: float) -> tuple[float, float]:
    """Start and end in UTC of `this` month, the `last` one, or `2026-11`. Raises Failed (usage)."""
    today = datetime.fromtimestamp(now, UTC)
    months = today.year * 12 + today.month - 1
    if text == "last":
        months -= 1
    elif text != "this":
        match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
        if match is None:
            raise Failed(f"{text!r} is not a month; write this, last, or 2026-11", ExitCode.USAGE)
        months = int(match[1]) * 12 + int(match[2]) - 1
    return _first_of(months), _first_of(months + 1)


def _first_of(months: int) -> float:
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()


def age(seconds: float | None, now: float) -> str:
    """`3 m` since that Unix time; empty for None and 0."""
    return spoken(max(0.0, now - seconds)) if seconds else ""
