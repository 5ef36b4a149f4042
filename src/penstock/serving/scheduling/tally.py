"""What has happened to the requests of one class in a line: plain numbers, read when somebody scrapes."""

from bisect import bisect_left
from enum import StrEnum
from typing import NamedTuple

WAIT_BOUNDS_SECONDS = tuple(2.0**power for power in range(-11, 10))
"""Upper bounds of the buckets of waits: each twice the one before, from 0.5 ms to 512 s."""


class Shed(StrEnum):
    """Why a request was not served."""

    FULL = "full"
    """As many of its class waited as may."""
    DISPLACED = "displaced"
    """It gave its place to a tenant with less in line."""
    DEADLINE = "deadline"
    """It would have been too late already: refused when it came."""
    OVERTAKEN = "overtaken"
    """It would be too late by far: heavier classes came after it, or the line became slower."""
    EXPIRED = "expired"
    """Its deadline passed in line."""
    SATURATED = "saturated"
    """Batch, refused at random before the line is full."""
    NO_IDLE_SLOT = "no_idle_slot"
    """Flex, which does not wait."""
    STOPPING = "stopping"
    """The gateway stopped."""


class Tally:
    """Of one class."""

    __slots__ = ("preempted", "shed", "wait_counts", "wait_seconds")

    def __init__(self) -> None:
        self.wait_counts = [0] * (len(WAIT_BOUNDS_SECONDS) + 1)
        """Requests that went from the line to a worker, by how long they had waited."""
        self.wait_seconds = 0.0
        self.shed: dict[Shed, int] = {}
        self.preempted = 0
        """Times that one was taken from its worker and put back in line."""

    def waited(self, seconds: float) -> None:
        self.wait_counts[bisect_left(WAIT_BOUNDS_SECONDS, seconds)] += 1
        self.wait_seconds += seconds

    def lost(self, reason: Shed) -> None:
        self.shed[reason] = self.shed.get(reason, 0) + 1

    @property
    def touched(self) -> bool:
        return bool(self.shed or self.preempted or any(self.wait_counts))

    def add(self, other: "Tally") -> None:
        for bucket, count in enumerate(other.wait_counts):
            self.wait_counts[bucket] += count
        self.wait_seconds += other.wait_seconds
        self.preempted += other.preempted
        for reason, count in other.shed.items():
            self.shed[reason] = self.shed.get(reason, 0) + count


class ClassStanding(NamedTuple):
    """A class in one model's line."""

    model: str
    service_class: str
    waiting: int
    tally: Tally
