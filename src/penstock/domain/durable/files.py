"""Files that an organisation keeps with us: what goes into a batch, what comes out of it, and other uploads."""

from dataclasses import dataclass
from enum import StrEnum

DAY_SECONDS = 24 * 3600
MONTH_SECONDS = 30 * DAY_SECONDS


class Purpose(StrEnum):
    """What a file is for, by OpenAI's names."""

    ASSISTANTS = "assistants"
    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"
    EVALS = "evals"
    FINE_TUNE = "fine-tune"
    USER_DATA = "user_data"
    VISION = "vision"


UPLOADED = frozenset(Purpose) - {Purpose.BATCH_OUTPUT}
"""Purposes that a caller may name; the others are ours to give."""

EXPIRES_BY_ITSELF = {Purpose.BATCH: MONTH_SECONDS, Purpose.BATCH_OUTPUT: MONTH_SECONDS}
"""Seconds after which a file of that purpose goes by default; the others stay."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the store knows of a file; its content lies under the same id among the blobs. Times are Unix seconds."""

    id: str
    org_id: str
    filename: str
    purpose: Purpose
    size_bytes: int
    created_at: float
    expires_at: float | None = None
    """None: it stays until it is deleted."""


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A page of one organisation's files, in the order of their making."""

    org_id: str
    limit: int
    after: str | None = None
    """The id where the last page ended."""
    purpose: Purpose | None = None
    ascending: bool = False
