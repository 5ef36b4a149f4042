"""What a runner that is joined over HTTP says, and what it is told. Many tasks in one call; read and written by msgspec alone."""

from typing import Annotated

import msgspec
from msgspec import Meta

from penstock.domain.durable.leases import HeartbeatReply, Lease, LeaseCompletion, LeaseRef, ProgressReport
from penstock.domain.durable.tasks import TaskStatus

LONGEST_WAIT_SECONDS = 30.0
MOST_LEASES = 1_000
MOST_HELD = 20_000

_PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"
"""`$` alone would let a line feed at the end pass."""
Text = Annotated[str, Meta(max_length=200, pattern=_PLAIN)]
Wait = Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS)]


class RunnerJoin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`functions`: JSON text of the functions that it offers, with their own defaults."""

    public_key: Annotated[str, Meta(min_length=44, max_length=44)]
    token: Annotated[str, Meta(max_length=256)] | None = None
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=_PLAIN)]
    queues: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    slots: Annotated[int, Meta(ge=1, le=100_000)]
    kinds: Annotated[tuple[Text, ...], Meta(max_length=10_000)] = ()
    functions: Annotated[str, Meta(max_length=500_000, pattern=r"^[^\x00]*$")] = "[]"
    version: Annotated[str, Meta(max_length=64, pattern=_PLAIN)] = ""


class RunnerJoined(msgspec.Struct, frozen=True):
    runner_id: str
    heartbeat_seconds: float
    lease_seconds: float


class RunnerClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MOST_LEASES)]
    queues: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    kinds: Annotated[tuple[Text, ...], Meta(max_length=10_000)] = ()
    wait_seconds: Wait = 0.0


class RunnerClaimed(msgspec.Struct, frozen=True):
    """By task id: `grants` are what a runner shows when it makes the call of an inference task, `task_keys` are for functions."""

    leases: list[Lease]
    grants: dict[str, str] = {}
    task_keys: dict[str, str] = {}


class RunnerHeartbeatRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`waiting`: those of the held leases whose work has not begun, for example because their process is being started."""

    held: Annotated[tuple[LeaseRef, ...], Meta(max_length=MOST_HELD)] = ()
    waiting: Annotated[tuple[LeaseRef, ...], Meta(max_length=MOST_HELD)] = ()


class RunnerHeartbeatResponse(msgspec.Struct, frozen=True):
    """`ticket` goes into the next call for news, so that what came between the two is not missed."""

    beat: HeartbeatReply
    ticket: int


class RunnerNewsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ticket: int
    wait_seconds: Wait = 0.0


class RunnerNewsResponse(msgspec.Struct, frozen=True):
    news: bool


class RunnerFinishRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in a finish are seconds from now: clocks of runners are not trusted."""

    finishes: Annotated[list[LeaseCompletion], Meta(max_length=MOST_LEASES)]


class RunnerFinishResponse(msgspec.Struct, frozen=True):
    """In the order of the finishes; null for one whose lease belongs to another runner by now."""

    statuses: list[TaskStatus | None]


class RunnerProgressRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reports: Annotated[list[ProgressReport], Meta(max_length=MOST_HELD)]


class RunnerCallRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The call of an inference task. `grant` came with its lease."""

    grant: Annotated[str, Meta(max_length=2_000)]
    url: Annotated[str, Meta(max_length=100)]
    body: Annotated[str, Meta(max_length=10_000_000)]
    own_class: bool = False


class RunnerCallResponse(msgspec.Struct, frozen=True):
    status: int
    request_id: str
    body: str
    retry_after_seconds: float | None = None
    worth_retrying: bool | None = None
