"""What is known of a deployment at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ReplicaState(StrEnum):
    STARTING = "starting"
    """It was asked for and does not serve yet: it counts as a replica, and what it says of its load does not count."""
    READY = "ready"
    """It serves."""
    DRAINING = "draining"
    """It finishes what it has and gets nothing new: neither it nor its load counts."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    id: str
    state: ReplicaState
    tokens: int | None = None
    """Prompt tokens that it has yet to read and tokens that it is expected to make; None: not known."""


@dataclass(frozen=True, slots=True)
class Observation:
    replicas: Sequence[ReplicaLoad]
    """In the order in which they were started."""
    queued_tokens: int = 0
    """Of the requests that wait for a slot, at all gateways."""

    def of(self, state: ReplicaState) -> list[ReplicaLoad]:
        return [replica for replica in self.replicas if replica.state is state]
