"""One model's workers, and which of them a request may use: pools as reserved shares of the model's slots."""

from collections.abc import Iterable

from penstock.domain.principal import Pool
from penstock.routing.member import Member
from penstock.routing.policies import Policy


class Serving:
    """The workers of one model that take requests now. Rebuilt when a worker's state changes, only read for a request.

    priority may use every slot; standard all but `priority_reserve` of them; overflow only what is left beyond `overflow_reserve`.
    A worker that is dedicated to a pool takes that pool's requests alone, and all of its slots are theirs.
    """

    def __init__(self, model: str, policy: Policy, priority_reserve: float, overflow_reserve: float) -> None:
        self.model = model
        self._policy = policy
        self._reserved = {Pool.PRIORITY: 0.0, Pool.STANDARD: priority_reserve, Pool.OVERFLOW: overflow_reserve}
        self._shared: list[Member] = []
        self._dedicated: dict[Pool, list[Member]] = {pool: [] for pool in Pool}
        self._ceiling: dict[Pool, int] = dict.fromkeys(Pool, 0)
        self._busy = 0
        """Requests of this model on shared workers."""
        self.known = 0
        """Workers that serve the model in whatever state."""

    def rebuild(self, members: Iterable[Member], known: int) -> None:
        """`members`: those that may get requests, ejected ones left out."""
        everyone = list(members)
        self.known = known
        self._shared = [member for member in everyone if member.record.pool is None]
        for pool in Pool:
            self._dedicated[pool] = [member for member in everyone if member.record.pool == pool.value]
        slots = sum(member.slots for member in self._shared)
        for pool in Pool:
            self._ceiling[pool] = slots - int(slots * self._reserved[pool])

    @property
    def available(self) -> bool:
        """Whether any worker takes requests of this model."""
        return bool(self._shared) or any(self._dedicated.values())

    def place(self, pools: tuple[Pool, ...], excluded: frozenset[str]) -> tuple[Member, Pool] | None:
        """A worker with a free slot in the first pool that has one; None: wait."""
        for pool in pools:
            if (dedicated := self._dedicated[pool]) and (member := self._policy.choose(dedicated, excluded)) is not None:
                return member, pool
            if self._busy < self._ceiling[pool] and (member := self._policy.choose(self._shared, excluded)) is not None:
                return member, pool
        return None

    def has_others(self, pools: tuple[Pool, ...], excluded: frozenset[str]) -> bool:
        """Whether a worker that is not excluded may become free for a request of these pools."""
        candidates = self._shared + [member for pool in pools for member in self._dedicated[pool]]
        return any(member.id not in excluded for member in candidates)

    def took(self, member: Member, tokens: int) -> None:
        """A request was sent to `member`; `tokens` is what it may cost there."""
        member.in_flight += 1
        member.outstanding_tokens += tokens
        if member.record.pool is None:
            self._busy += 1

    def gave_back(self, member: Member, tokens: int) -> None:
        """The request that `took` counted is over."""
        member.in_flight -= 1
        member.outstanding_tokens -= tokens
        if member.record.pool is None:
            self._busy -= 1
