"""A batch: a file of requests, run at the class `batch` within a day; its answers come as files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from penstock.domain.durable.files import DAY_SECONDS

WINDOW: Literal["24h"] = "24h"
WINDOW_SECONDS = DAY_SECONDS
MOST_LINES = 50_000
MOST_INPUTS = 50_000
"""Texts to embed in all lines together, as OpenAI has it."""


class BatchStatus(StrEnum):
    """Where a batch is in its life, by OpenAI's names."""

    VALIDATING = "validating"
    """Its file is being read."""
    FAILED = "failed"
    """The file is not one that could be run; nothing was."""
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    """Every line is over; the files are being written."""
    COMPLETED = "completed"
    EXPIRED = "expired"
    """Its time was up; what was done by then is in the files."""
    CANCELLING = "cancelling"
    """Lines that run are being stopped, the files being written."""
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return not LEGAL_MOVES[self]


LEGAL_MOVES: dict[BatchStatus, frozenset[BatchStatus]] = {
    BatchStatus.VALIDATING: frozenset({BatchStatus.IN_PROGRESS, BatchStatus.FAILED, BatchStatus.CANCELLING, BatchStatus.EXPIRED}),
    BatchStatus.IN_PROGRESS: frozenset({BatchStatus.FINALIZING, BatchStatus.CANCELLING, BatchStatus.EXPIRED, BatchStatus.FAILED}),
    BatchStatus.FINALIZING: frozenset({BatchStatus.COMPLETED, BatchStatus.CANCELLING, BatchStatus.EXPIRED}),
    BatchStatus.CANCELLING: frozenset({BatchStatus.CANCELLED}),
    BatchStatus.COMPLETED: frozenset(),
    BatchStatus.FAILED: frozenset(),
    BatchStatus.EXPIRED: frozenset(),
    BatchStatus.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class LineFault:
    """Why a file is not a batch. `line` counts from 1; None: the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class BatchUsage:
    """Tokens of all lines together."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: dict[str, int] = field(default_factory=dict)
    """By currency, in millionths of it: at the prices of the time at which the files were written."""


LineCost = Callable[[str, BatchUsage], tuple[str, int]]
"""Currency and micro-units of one line: the model that it names, and its tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is kept. Times are Unix seconds."""

    id: str
    org_id: str
    key_id: str
    endpoint: str
    input_file_id: str
    status: BatchStatus
    created_at: float
    expires_at: float
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    """The counts, as the last look at the tasks found them."""
    faults: tuple[LineFault, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    """That of every line; None: they differ, or are not read yet."""
    output_file_id: str | None = None
    error_file_id: str | None = None
    output_expires_seconds: float | None = None
    """How long the files stay; None: as files of their purpose do."""
    usage: BatchUsage | None = None
