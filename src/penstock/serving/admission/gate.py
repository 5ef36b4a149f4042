"""The gate: a request of a known principal is admitted or refused, at once and in a written order.

`enter`, before anything looks into its body, which costs more than all of this:

1. concurrency  429: the organisation has enough requests running
2. requests/min 429: the organisation's limit, then the key's own
3. bytes/min    429: bodies over 64 KiB, all of an organisation's together

`reserve`, when it is known what the request asks for:

4. scope        403: the key may not make inferences
5. tier         403 or 400: the plan lacks the service_tier
6. guards       what else was given to the gate (budgets): a refusal here costs a request, but no tokens
7. concurrency  429: the key's own, where it has one
8. tokens/min   429: prompt + max_tokens are reserved, and settled to the true number at the end

A request that is refused by steps 1 and 2 leaves no trace. One that is refused later, or because its body is wrong, counts as a request, as
OpenAI counts it: otherwise costly bodies could be sent without limit. Concurrency is taken last, so that it never has to be given back.
It counts the requests of all keys of an organisation. Its tasks and batches pass a gate of their own, which has the same buckets
and counts what runs apart: they do not take the places of requests for which people wait.
"""

from collections.abc import Mapping
from typing import Final

from penstock.domain.call import Demand
from penstock.domain.errors import PermissionDenied, RateLimited
from penstock.domain.policy import TierPolicy
from penstock.domain.ports import Quotas
from penstock.domain.principal import Pool, Principal, ServiceTier
from penstock.domain.tokens import NO_TOKENS, TokenCount
from penstock.serving.admission.guards import NO_HOLDS, Guard, Hold, hold_all, release_all
from penstock.serving.admission.limits import LEAST_BYTES_PER_MINUTE, Buckets, KeyLimits, LimitBook, OwnPlaces, Running, header_block
from penstock.serving.admission.tiers import TierChoice

_BUSY_SECONDS: Final = 1.0  # when a running request of the same organisation ends is not known


class Admission:
    """What an admitted request holds until it ends: a place among those of its organisation, reserved tokens, what guards hold."""

    _open = True

    def __init__(
        self,
        running: Running,
        choice: TierChoice,
        requests: Buckets,
        tokens: Buckets,
        reserved_tokens: int,
        holds: tuple[Hold, ...],
    ) -> None:
        self._running = running
        self._requests = requests
        self._tokens = tokens
        self.choice = choice
        self.reserved_tokens = reserved_tokens
        self._holds = holds

    @property
    def tier(self) -> ServiceTier:
        """The tier that is hoped for; `choice.served(pool)` is the one that counts."""
        return self.choice.tier

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Where it may be placed, in order of preference."""
        return self.choice.pools

    @property
    def pool(self) -> Pool:
        return self.choice.pools[0]

    def settle_tokens(self, count: TokenCount) -> None:
        """The request has ended and used these tokens: give back (or take) the difference. Once."""
        if not self._open:
            return
        self._open = False
        self._running.count -= 1
        unused = self.reserved_tokens - count.prompt - count.completion
        if unused:
            for bucket in self._tokens:
                bucket.settle(unused)
        if self._holds:
            for hold in self._holds:
                hold.settle(count)

    def release(self) -> None:
        """The request has ended without using a token (shed, refused by every worker). It stays counted as a request."""
        if self._open and self._holds:
            release_all(self._holds)
            self._holds = NO_HOLDS
        self.settle_tokens(NO_TOKENS)

    def header_block(self, now: float) -> bytes:
        """The rate-limit header lines as they stand now, each with its CRLF."""
        return header_block(self._requests, self._tokens, now)


class Gate:
    """Knows the limits of every key; makes no call."""

    def __init__(
        self,
        quotas: Quotas,
        guards: tuple[Guard, ...] = (),
        capacity: int = 100_000,
        least_bytes_per_minute: int = LEAST_BYTES_PER_MINUTE,
        what: str = "requests",
    ) -> None:
        """`what` runs at the same time, in the words of a refusal."""
        self._book = LimitBook(quotas, capacity, least_bytes_per_minute)
        self._known = self._book.limits
        self._guards = guards
        self._what = what

    @property
    def known_keys(self) -> int:
        """Keys whose limits are in memory."""
        return len(self._book)

    def enter(self, principal: Principal, now: float) -> KeyLimits:
        """Before its body is decoded. `now`: monotonic. Raises RateLimited."""
        limits = self._known.get(principal.actor_id)
        if limits is None or limits.principal is not principal:
            limits = self._book.of(principal)
        if limits.running.count >= limits.concurrency:
            raise _too_many_running(limits.concurrency, self._what)
        limits.requests.take(1, now)
        return limits

    def reserve(self, limits: KeyLimits, demand: Demand, now: float) -> Admission:
        """For a request that has entered. Raises PermissionDenied, BadRequest (the tier is none), RateLimited, or what a guard raises."""
        if not limits.may_infer:
            raise _no_scope()
        choice = limits.choices.get(demand.service_tier) or limits.tier(demand.service_tier)
        holds = hold_all(self._guards, limits.principal, demand, now) if self._guards else NO_HOLDS
        if limits.own is not None:
            holds = with_own_place(limits.own, holds)
        needed = demand.prompt_tokens + demand.max_tokens
        try:
            tokens = limits.tokens.take(needed, now)
        except BaseException:
            release_all(holds)
            raise
        running = limits.running
        running.count += 1
        return Admission(running, choice, limits.requests.last, tokens, needed, holds)

    def admit(self, principal: Principal, demand: Demand, now: float) -> Admission:
        """Both steps for a request without a body. Scope and tier are checked first: a refusal for them leaves no trace."""
        limits = self._book.of(principal)
        if not limits.may_infer:
            raise _no_scope()
        limits.tier(demand.service_tier)
        return self.reserve(self.enter(principal, now), demand, now)

    def limits_of(self, principal: Principal) -> KeyLimits:
        return self._book.of(principal)

    def leave(self, principal: Principal) -> None:
        """A request that has entered comes again at once, in the form in which it is admitted: it is one request."""
        for bucket in self._book.of(principal).requests.last:
            bucket.settle(1)

    def adopt(self, tiers: Mapping[ServiceTier, TierPolicy]) -> None:
        """Another policy is in force."""
        self._book.adopt(tiers)

    def header_block(self, principal: Principal, now: float) -> bytes:
        """The rate-limit header lines for an answer without an admission, such as a 429."""
        limits = self._book.of(principal)
        return header_block(limits.requests.buckets(), limits.tokens.buckets(), now)

    def in_flight(self, principal: Principal) -> int:
        """How many requests of this principal's organisation are running here."""
        return self._book.of(principal).running.count


def with_own_place(own: OwnPlaces, holds: tuple[Hold, ...]) -> tuple[Hold, ...]:
    """Raises RateLimited; then nothing is held any more."""
    try:
        return (*holds, own.hold())
    except RateLimited:
        release_all(holds)
        raise


def _no_scope() -> PermissionDenied:
    return PermissionDenied("This API key lacks the scope 'inference'.", retry=False)


def _too_many_running(limit: int, what: str) -> RateLimited:
    return RateLimited(
        f"This organisation has reached its limit of {limit} {what} at the same time.",
        retry_after_seconds=_BUSY_SECONDS,
    )
