"""The gate: a request of a known principal is admitted or refused, at once and in a written order.

1. scope        403: the key may not make inferences
2. tier         403 or 400: the plan lacks the service_tier
3. concurrency  429: the key has enough requests running
4. requests/min 429: the organisation's limit, then the key's own
5. guards       what else was given to the gate (budgets): a refusal here costs a request, but no tokens
6. tokens/min   429: prompt + max_tokens are reserved, and settled to the true number at the end

A request that is refused by steps 1-4 leaves no trace. One that is refused by 5 or 6 counts as a request, as OpenAI counts it:
otherwise requests that are too large could be tried without limit. Concurrency is taken last, so it never has to be given back.
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
from penstock.serving.admission.limits import Buckets, KeyLimits, LimitBook, header_block
from penstock.serving.admission.tiers import TierChoice

_BUSY_SECONDS: Final = 1.0  # it is not known when a running request of the same key ends


class Admission:
    """What an admitted request holds until it ends: a place among its key's running requests, reserved tokens, what guards hold."""

    _open = True

    def __init__(
        self, limits: KeyLimits, choice: TierChoice, requests: Buckets, tokens: Buckets, reserved_tokens: int, holds: tuple[Hold, ...]
    ) -> None:
        self._limits = limits
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
        self._limits.in_flight -= 1
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

    def __init__(self, quotas: Quotas, guards: tuple[Guard, ...] = (), capacity: int = 100_000) -> None:
        self._book = LimitBook(quotas, capacity)
        self._known = self._book.limits
        self._guards = guards

    @property
    def known_keys(self) -> int:
        """Keys whose limits are in memory."""
        return len(self._book)

    def admit(self, principal: Principal, demand: Demand, now: float) -> Admission:
        """Raises PermissionDenied, BadRequest (a tier that is none), RateLimited, or what a guard raises. `now`: monotonic."""
        limits = self._known.get(principal.actor_id)
        if limits is None or limits.principal is not principal:
            limits = self._book.of(principal)
        if not limits.may_infer:
            raise PermissionDenied("This API key lacks the scope 'inference'.", retry=False)
        choice = limits.choices.get(demand.service_tier) or limits.tier(demand.service_tier)
        if limits.in_flight >= limits.concurrency:
            raise _too_many_running(limits.concurrency)
        requests = limits.requests.take(1, now)
        holds = hold_all(self._guards, principal, demand, now) if self._guards else NO_HOLDS
        needed = demand.prompt_tokens + demand.max_tokens
        try:
            tokens = limits.tokens.take(needed, now)
        except BaseException:
            release_all(holds)
            raise
        limits.in_flight += 1
        return Admission(limits, choice, requests, tokens, needed, holds)

    def adopt(self, tiers: Mapping[ServiceTier, TierPolicy]) -> None:
        """Another policy is in force."""
        self._book.adopt(tiers)

    def header_block(self, principal: Principal, now: float) -> bytes:
        """The rate-limit header lines for an answer without an admission, such as a 429."""
        limits = self._book.of(principal)
        return header_block(limits.requests.buckets(), limits.tokens.buckets(), now)

    def in_flight(self, principal: Principal) -> int:
        """How many requests of this key are running here."""
        return self._book.of(principal).in_flight


def _too_many_running(limit: int) -> RateLimited:
    return RateLimited(
        f"This API key has reached its limit of {limit} requests at the same time.",
        retry_after_seconds=_BUSY_SECONDS,
    )
