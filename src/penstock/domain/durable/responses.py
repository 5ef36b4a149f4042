"""A kept answer of `/v1/responses`: what was said, and which answer it continues."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.durable.files import MONTH_SECONDS
from penstock.domain.errors import TooLarge

KEPT_SECONDS = MONTH_SECONDS
LONGEST_CHAIN = 1000
"""Answers that one may continue, each the one before it."""


class ResponseStatus(StrEnum):
    """Where an answer is in its life, by OpenAI's names."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self not in (ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer as it is kept. Times are Unix seconds; `document` and `items` are JSON texts in OpenAI's shapes."""

    id: str
    org_id: str
    key_id: str
    status: ResponseStatus
    created_at: float
    expires_at: float
    document: str
    """The Response object."""
    items: str
    """The input items of this answer alone, each with an id."""
    previous_id: str | None = None
    task_id: str | None = None
    """The task that makes it; None: it was made at once."""


def conversation_too_large(max_bytes: int, what: str = "") -> TooLarge:
    """`what`: what is counted beside the items, as the end of the sentence."""
    return TooLarge(
        f"The responses that this one continues have more than {max_bytes} bytes{what}.", param="previous_response_id", retry=False
    )
