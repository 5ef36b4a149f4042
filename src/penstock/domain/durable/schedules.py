"""Tasks made by the calendar."""

from dataclasses import dataclass
from enum import StrEnum


class MissedRuns(StrEnum):
    """What becomes of the runs that a schedule missed (nothing was up, or it was paused)."""

    SKIP = "skip"
    """They are left out."""
    ONE = "one"
    """One run makes up for all of them."""
    ALL = "all"
    """Every one is made up for."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tasks made by the calendar."""

    id: str
    org_id: str
    key_id: str
    name: str
    cron: str
    time_zone: str
    missed: MissedRuns
    task: str
    """JSON text of what is submitted, as the API takes it."""
    created_at: float
    next_at: float | None
    """When it fires next; None: paused."""
    last_at: float | None = None
    """The run that it fired last."""
    paused: bool = False
