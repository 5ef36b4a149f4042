"""Sums by the hour, made in one pass in Python: the database hears of a batch's groups, not of its records."""

from collections.abc import Iterable, Mapping, Sequence

from penstock.domain.usage import UsageRecord

HOUR_KEY = ("org_id", "hour", "key_id", "model", "service_tier", "service_class", "currency")
SUMS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated_requests", "cost_micros")
ADDED = ", ".join(f"{name} = usage_hour.{name} + excluded.{name}" for name in SUMS)
"""What an INSERT does when there are sums of that key already."""
HOUR_SECONDS = 3600

Place = tuple[str, int]
"""Organisation and hour."""
Group = tuple[str, str, str, str, str]
"""What else a report may group by: key, model, tier, class, currency."""
Sums = Mapping[Group, Sequence[int]]
"""In the order of `SUMS`."""


def hour(time: float) -> int:
    """Whole hours since the Unix epoch. Floor division is exact where dividing first would round."""
    return int(time // HOUR_SECONDS)


def by_place(records: Iterable[UsageRecord]) -> dict[Place, list[UsageRecord]]:
    found: dict[Place, list[UsageRecord]] = {}
    for record in records:
        place = (record.org_id, int(record.started_at // HOUR_SECONDS))
        group = found.get(place)
        if group is None:
            found[place] = [record]
        else:
            group.append(record)
    return found


def sums(records: Iterable[UsageRecord]) -> dict[Group, list[int]]:
    """Of records of one place. This runs for every request that is served: no call, no attribute twice."""
    found: dict[Group, list[int]] = {}
    for record in records:
        group = (record.key_id, record.model, record.service_tier, record.service_class, record.currency)
        line = found.get(group)
        if line is None:
            line = found[group] = [0, 0, 0, 0, 0, 0, 0]
        line[0] += 1
        line[1] += record.prompt_tokens
        line[2] += record.completion_tokens
        line[3] += record.cached_tokens
        line[4] += record.reasoning_tokens
        line[5] += record.estimated
        line[6] += record.cost_micros
    return found


class Hours:
    """Sums by place and group that grow as parts are added."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int, str, str, str, str, str], Sequence[int]] = {}

    def add(self, place: Place, part: Sums) -> None:
        for group, line in part.items():
            key = (*place, *group)
            known = self._lines.get(key)
            self._lines[key] = line if known is None else [a + b for a, b in zip(known, line, strict=True)]

    def rows(self) -> list[tuple[str | int, ...]]:
        """Values in the order of `HOUR_KEY` and `SUMS`; in the order of the key, so that two gateways that add to the same hours lock
        their rows in the same order."""
        return [(*key, *self._lines[key]) for key in sorted(self._lines)]
