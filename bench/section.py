"""What one benchmark found: a table for people, figures for the goals, data for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Spread

NOTHING = "—"


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """By the key of a goal; None: it was tried, and the result says nothing."""
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def shown(spread: Spread | None, digits: int) -> str:
    """The median, and in brackets the lowest and the highest where there are several."""
    if spread is None:
        return NOTHING
    middle, low, high = (f"{value:,.{digits}f}" for value in (spread.median, spread.low, spread.high))
    return middle if low == high else f"{middle} ({low}-{high})"


def median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median
