"""One request's way, in words and numbers for people: what was decided, from what, and which setting would have changed it."""

import msgspec


class LimitStanding(msgspec.Struct, frozen=True):
    """A rate limit as the answer told it."""

    name: str
    """`requests` or `tokens`, a minute."""
    limit: int
    remaining: int
    reset_seconds: float


class ScoredCandidate(msgspec.Struct, frozen=True):
    """A worker among which was chosen, as it was just before the choice."""

    worker_id: str
    in_flight: int
    limit: int
    """Requests that it got at the same time."""
    outstanding_tokens: int
    cached_tokens: int
    """Of this prompt, by our estimate."""
    score: float | None
    """What the policy compared; None: it compares nothing. For `cached_tokens` more is better, else less."""
    chosen: bool
    usable: bool
    """It had room, and had not failed this request before."""


class ShadowChoice(msgspec.Struct, frozen=True):
    policy: str
    worker_id: str
    """Empty: none."""
    agreed: bool


class FailedTry(msgspec.Struct, frozen=True):
    worker_id: str
    reason: str
    at_seconds: float
    busy: bool
    """It was only full."""


class Step(msgspec.Struct, frozen=True):
    at_seconds: float
    """Since the request came."""
    what: str


class Advice(msgspec.Struct, frozen=True):
    setting: str
    """Its name in the settings or in the policy; or what else could be changed."""
    effect: str


class Explanation(msgspec.Struct, frozen=True):
    id: str
    org_id: str
    key_id: str
    plan: str
    service_class: str
    model: str
    asked_tier: str | None
    pools: tuple[str, ...]
    """Where it might be placed, in order of preference."""
    pool: str
    tier: str
    policy: str
    worker_id: str
    outcome: str
    """`answered`, `broke_off`, `client_left`, `refused` or `replayed`."""
    status: int
    code: str
    message: str
    started_at: float
    seconds: float
    queue_seconds: float
    waiting: int
    """Requests in the queue, itself included, when it began to wait; 0: it did not."""
    ttft_seconds: float | None
    timeout_seconds: float | None
    prompt_tokens: int
    max_tokens: int
    completion_tokens: int
    limits: tuple[LimitStanding, ...]
    candidates: tuple[ScoredCandidate, ...]
    available: int
    """Candidates that there were; the first few are listed."""
    shadow: ShadowChoice | None
    tries: tuple[FailedTry, ...]
    timeline: tuple[Step, ...]
    advice: tuple[Advice, ...]
    """Empty: no setting would have changed the outcome."""
