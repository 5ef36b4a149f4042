"""What a connection is waiting for, and for how long and how much."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    max_header_bytes: int = 16 << 10
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    write_buffer_bytes: int = 64 << 10


class ConnectionState(Enum):
    """What the connection is waiting for."""

    IDLE = "the next request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "us"


# A member looked up on its class costs more than many a step of a request.
IDLE, HEAD, BODY, ANSWER = ConnectionState
