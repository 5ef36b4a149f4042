"""What is kept of one request's way: facts that were at hand anyway, put into words only when somebody asks."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from penstock.domain.call import Demand
from penstock.domain.principal import Pool, Principal, ServiceClass

BYTES_PER_DECISION = 4096
"""More than any one takes, with its eight candidates (a test measures it); so the ring's length bounds its memory."""


class Candidate(Protocol):
    """A worker among which was chosen."""

    @property
    def id(self) -> str: ...

    @property
    def slots(self) -> int: ...


class Seen(NamedTuple):
    """What a worker was chosen from."""

    labels: tuple[str, str, str]
    """The policy; what it compares (`outstanding_tokens`, `in_flight`, `cached_tokens` or `turn`); the policy that was only asked."""
    shadow_choice: str
    """The worker that the other one would have chosen; empty: none."""
    candidates: Sequence[Candidate]
    """The first few of those that there were."""
    numbers: Sequence[int]
    """Three for each candidate, from just before the choice: requests in flight, outstanding tokens, its limit."""
    available: int
    """How many there were."""
    cached: Mapping[str, int]

    @property
    def policy(self) -> str:
        return self.labels[0]

    @property
    def measure(self) -> str:
        return self.labels[1]

    @property
    def shadow(self) -> str:
        """Empty: none."""
        return self.labels[2]

    @property
    def limits(self) -> Sequence[int]:
        return self.numbers[2::3]


class Try(NamedTuple):
    """A try that failed."""

    worker_id: str
    reason: str
    at_seconds: float
    """Since the request came."""
    busy: bool


class Decision(NamedTuple):
    """One request. The data plane appends plain tuples of this shape, nested ones for `seen` and `tries` too."""

    request_id: str
    principal: Principal
    service_class: ServiceClass
    model: str
    demand: Demand | None
    """None: it was refused before that was known."""
    pools: tuple[Pool, ...]
    """Where it might have been placed, in order of preference."""
    pool: Pool | None
    tier: str
    """As served; empty: it was not."""
    worker_id: str
    seen: Seen | None
    waiting: int
    """Requests in the model's line, itself included, when it began to wait; 0: it did not wait."""
    queue_seconds: float
    tries: tuple[Try, ...]
    arrived: float
    """Monotonic seconds, as the next two."""
    first_token_at: float | None
    ended: float
    started_at: float
    """Unix seconds."""
    status: int
    """0: the client left before there was an answer."""
    code: str
    """The error's; empty: none."""
    message: str
    completion_tokens: int
    limits: bytes
    """The rate-limit lines as the client got them."""
    timeout_seconds: float | None
    """How long the client would have waited, as it said."""

    @property
    def org_id(self) -> str:
        return self.principal.org_id

    @property
    def asked_tier(self) -> str | None:
        return None if self.demand is None else self.demand.service_tier

    @property
    def seconds(self) -> float:
        return self.ended - self.arrived

    @property
    def ttft_seconds(self) -> float | None:
        return None if self.first_token_at is None else self.first_token_at - self.arrived


class Ring:
    """The latest decisions, as many as fit into so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._entries: deque[tuple[object, ...]] = deque(maxlen=max(1, most_bytes // BYTES_PER_DECISION))
        self.note = self._entries.append
        """Takes a tuple in the shape of `Decision`."""
        self._read_until: tuple[object, ...] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, request_id: str) -> Decision | None:
        return next((decided(entry) for entry in reversed(self._entries) if entry[0] == request_id), None)

    def latest(self, org_id: str | None, count: int) -> list[Decision]:
        """Newest first; None: of every organisation."""
        found: list[Decision] = []
        for entry in reversed(self._entries):
            if len(found) == count:
                break
            decision = decided(entry)
            if org_id is None or decision.org_id == org_id:
                found.append(decision)
        return found

    def news(self) -> list[tuple[object, ...]]:
        """What came since this was last asked, oldest first; what has fallen out of the ring in between is left out."""
        fresh: list[tuple[object, ...]] = []
        for entry in reversed(self._entries):
            if entry is self._read_until:
                break
            fresh.append(entry)
        if fresh:
            self._read_until = fresh[0]
        return fresh[::-1]


def decided(entry: tuple[object, ...]) -> Decision:
    """An entry of the ring with names on it."""
    raw = Decision._make(entry)
    return raw._replace(
        seen=None if raw.seen is None else Seen._make(raw.seen),
        tries=tuple(Try._make(each) for each in raw.tries),
    )
