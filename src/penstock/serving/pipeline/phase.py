"""Where a request is."""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """A request only moves down this list, except that a retry goes back from `sent` to `queued`, or stays there."""

    NEW = "new"
    """Not admitted yet."""
    QUEUED = "queued"
    """Admitted; waits for a slot."""
    SENT = "sent"
    """At a worker; nothing of its answer has gone to the client."""
    ANSWERING = "answering"
    """Tokens are going to the client: no other worker can take over."""
    FINISHED = "finished"


# A member looked up on its class costs more than many a step of a request.
NEW: Final = Phase.NEW
QUEUED: Final = Phase.QUEUED
SENT: Final = Phase.SENT
ANSWERING: Final = Phase.ANSWERING
FINISHED: Final = Phase.FINISHED
