"""One model's workers, and which of them a request may use: pools as reserved shares of the model's slots."""

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.domain.outcome import RoutingSnapshot
from penstock.domain.principal import Pool
from penstock.serving.routing.choice import PolicyChoice
from penstock.serving.routing.member import Member
from penstock.serving.routing.policies import BalancingPolicy
from penstock.serving.routing.prefix import NO_PREFIX, NOTHING_CACHED, Prefix, PrefixTable

MOST_SEEN: Final = 8
"""Candidates of which a decision keeps the numbers: those of a large fleet would cost more than the decision."""
_AVERAGE_WEIGHT: Final = 0.05


class Serving:
    """The workers of one model that take requests now. Rebuilt when a worker's state changes, only read for a request.

    priority may use every slot; standard all but `priority_reserve` of them; overflow only what is left beyond `overflow_reserve`.
    A worker that is dedicated to a pool takes that pool's requests alone, and all of its slots are theirs.
    """

    def __init__(self, model: str, choice: PolicyChoice, priority_reserve: float, overflow_reserve: float) -> None:
        self.model = model
        self.owner: str | None = None
        """The organisation whose own workers these are; None: the platform's."""
        self.prefixes = PrefixTable()
        self._shared: list[Member] = []
        self._dedicated: dict[Pool, list[Member]] = {pool: [] for pool in Pool}
        self._ceiling: dict[Pool, int] = dict.fromkeys(Pool, 0)
        self._reserved: dict[Pool, float] = {}
        self._busy = 0
        """Requests of this model on shared workers."""
        self.known = 0
        """Workers that serve the model, in any state."""
        self.elastic = False
        """A platform starts workers for it when they are needed: while there are none, its requests wait."""
        self.resting_until = 0.0
        """Monotonic seconds until which all its ready workers rest; 0: they do not."""
        self.average_output: float | None = None
        """Tokens that this model's requests have made of late; None: none has ended yet."""
        self.snapshot: RoutingSnapshot | None = None
        """What the latest choice was made from."""
        self.shadow_agreed = 0
        self.shadow_differed = 0
        self.follow(choice)
        self.reserve(priority_reserve, overflow_reserve)

    def follow(self, choice: PolicyChoice) -> None:
        """Choose by another policy from now on."""
        self.choice = choice
        self._choose = choice.policy.choose
        shadow = choice.shadow
        self.wants_prefix = choice.policy.wants_prefix or (shadow is not None and shadow.wants_prefix)
        """Whether `choose_worker` has any use for a request's prefix."""

    def reserve(self, priority: float, overflow: float) -> None:
        """Keep other shares of the slots from now on."""
        self._reserved = {Pool.PRIORITY: 0.0, Pool.STANDARD: priority, Pool.OVERFLOW: overflow}
        self.recount()

    def rebuild(self, members: Iterable[Member], known: int) -> None:
        """`members`: those that may get requests, ejected ones left out."""
        everyone = list(members)
        self.known = known
        # New lists, never changed ones: a decision may still hold the old.
        self._shared = [member for member in everyone if member.record.pool is None]
        for pool in Pool:
            self._dedicated[pool] = [member for member in everyone if member.record.pool == pool.value]
        self.recount()

    def recount(self) -> None:
        """The limits of its workers changed."""
        slots = sum(member.limit for member in self._shared)
        for pool in Pool:
            self._ceiling[pool] = slots - int(slots * self._reserved[pool])
        # What is kept from ordinary requests is not left over either.
        self._ceiling[Pool.OVERFLOW] = min(self._ceiling[Pool.OVERFLOW], self._ceiling[Pool.STANDARD])

    @property
    def available(self) -> bool:
        """Whether any worker takes requests of this model."""
        return bool(self._shared) or any(self._dedicated.values())

    def choose_worker(self, pools: tuple[Pool, ...], excluded: frozenset[str], prefix: Prefix = NO_PREFIX) -> tuple[Member, Pool] | None:
        """A worker with a free slot in the first pool that has one; None: wait."""
        cached = self.prefixes.cached(prefix) if prefix else NOTHING_CACHED
        for pool in pools:
            if (dedicated := self._dedicated[pool]) and (member := self._choose(dedicated, excluded, cached)) is not None:
                self._note(dedicated, member, excluded, cached)
                return member, pool
            if self._busy < self._ceiling[pool] and (member := self._choose(self._shared, excluded, cached)) is not None:
                self._note(self._shared, member, excluded, cached)
                return member, pool
        return None

    def _note(self, candidates: list[Member], chosen: Member, excluded: frozenset[str], cached: Mapping[str, int]) -> None:
        """Keep what the choice was made from, and ask the shadow policy."""
        choice = self.choice
        other = "" if choice.shadow is None else self._ask_shadow(choice.shadow, candidates, chosen, excluded, cached)
        count = len(candidates)
        if count > MOST_SEEN:
            candidates = [chosen, *[member for member in candidates[:MOST_SEEN] if member is not chosen][: MOST_SEEN - 1]]
        numbers: list[int] = []
        for member in candidates:
            numbers += (member.in_flight, member.outstanding_tokens, member.limit)
        self.snapshot = RoutingSnapshot(choice.labels, other, candidates, numbers, count, cached)

    def _ask_shadow(
        self, shadow: BalancingPolicy, candidates: list[Member], chosen: Member, excluded: frozenset[str], cached: Mapping[str, int]
    ) -> str:
        other = shadow.choose(candidates, excluded, cached)
        if other is chosen:
            self.shadow_agreed += 1
        else:
            self.shadow_differed += 1
        return "" if other is None else other.id

    def has_capacity(self, pools: tuple[Pool, ...], excluded: frozenset[str]) -> bool:
        """Whether `choose_worker` may find a slot; cheaper, and asks no policy."""
        for pool in pools:
            if self._busy < self._ceiling[pool]:
                return True
            for member in self._dedicated[pool]:
                if member.in_flight < member.limit and member.id not in excluded:
                    return True
        return False

    def would_have_capacity_without(self, member: Member, pools: tuple[Pool, ...], excluded: frozenset[str]) -> bool:
        """Whether a request of these pools could be where one of `member`'s is now, were that one not there."""
        if member.id in excluded:
            return False
        if member.record.pool is not None:
            return member.record.pool in pools
        return any(self._busy - 1 < self._ceiling[pool] for pool in pools)

    def has_others(self, pools: tuple[Pool, ...], excluded: frozenset[str]) -> bool:
        """Whether a worker that is not excluded may become free for a request of these pools."""
        candidates = self._shared + [member for pool in pools for member in self._dedicated[pool]]
        return any(member.id not in excluded for member in candidates)

    # what is outstanding

    def cached_tokens(self, prefix: Prefix) -> int:
        """Of a prompt's tokens, those that its likeliest worker has probably kept; 0 when no policy looks at prefixes."""
        return max(self.prefixes.cached(prefix).values(), default=0) if prefix else 0

    def uncached_at(self, member: Member, prompt_tokens: int, prefix: Prefix) -> int:
        """The part of a prompt that this worker, which is about to get it, has to read; it then holds all of it."""
        cached = self.prefixes.cached(prefix).get(member.id, 0)
        self.prefixes.learn(prefix, member.id)
        return max(1, prompt_tokens - cached)

    def prefill_seconds(self, tokens: int) -> float:
        """How long the first token of a prompt of so many uncached tokens takes a fast worker; 0 when not known. Looks at a few only."""
        paces = [member.adaptive.reading_seconds for member in self._shared[:MOST_SEEN] if member.adaptive is not None]
        return tokens * min((pace for pace in paces if pace), default=0.0)

    def slot_taken(self, member: Member, tokens: int) -> None:
        """A request was sent to `member`; `tokens` is what it probably has to do there."""
        member.in_flight += 1
        member.outstanding_tokens += tokens
        if member.record.pool is None:
            self._busy += 1

    def slot_released(self, member: Member, tokens: int, incarnation: int | None = None) -> None:
        """The request that `slot_taken` counted is over; `tokens`: what was still outstanding of it.

        `incarnation`: the worker's when it took the request; a new process has nothing of what an old one had.
        """
        if incarnation is None or incarnation == member.incarnation:
            member.in_flight -= 1
            member.outstanding_tokens -= tokens
        if member.record.pool is None:
            self._busy -= 1

    def made(self, tokens: int) -> None:
        """A request of this model has ended and made so many tokens."""
        average = self.average_output
        self.average_output = float(tokens) if average is None else average + (tokens - average) * _AVERAGE_WEIGHT
