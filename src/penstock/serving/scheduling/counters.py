"""What has happened to the requests of one class in a queue: plain numbers, read at a scrape."""

from enum import StrEnum
from typing import NamedTuple

from penstock.domain.histogram import Histogram


class ShedReason(StrEnum):
    """Why a request was not served."""

    FULL = "full"
    """As many of its class waited as may."""
    DISPLACED = "displaced"
    """It gave its place to a tenant with less in the queue."""
    DEADLINE = "deadline"
    """It would have been too late already: refused when it came."""
    OVERTAKEN = "overtaken"
    """It would be too late by far: heavier classes came after it, or the queue became slower."""
    EXPIRED = "expired"
    """Its deadline passed in the queue."""
    SATURATED = "saturated"
    """Batch, refused at random before the queue is full."""
    NO_IDLE_SLOT = "no_idle_slot"
    """Flex, which does not wait."""
    STOPPING = "stopping"
    """The gateway stopped."""


class ClassCounters:
    """Of one class."""

    __slots__ = ("preempted", "shed", "waits")

    def __init__(self) -> None:
        self.waits = Histogram()
        """Requests that went from the queue to a worker, by how long they had waited."""
        self.shed: dict[ShedReason, int] = {}
        self.preempted = 0
        """Times that one was taken from its worker and put back in the queue."""

    def waited(self, seconds: float) -> None:
        self.waits.add(seconds)

    def lost(self, reason: ShedReason) -> None:
        self.shed[reason] = self.shed.get(reason, 0) + 1

    @property
    def touched(self) -> bool:
        return bool(self.shed or self.preempted or any(self.waits.counts))

    def add(self, other: "ClassCounters") -> None:
        self.waits.merge(other.waits)
        self.preempted += other.preempted
        for reason, count in other.shed.items():
            self.shed[reason] = self.shed.get(reason, 0) + count


class ClassQueueStatus(NamedTuple):
    """A class in one model's queue."""

    model: str
    service_class: str
    waiting: int
    counters: ClassCounters
