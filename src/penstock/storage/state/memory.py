"""Rate limits counted in this process."""

from penstock.domain.bucket import Bucket
from penstock.domain.clock import Clock
from penstock.domain.ports import QuotasFactory

_EXAMINED = 4  # old buckets looked at for every new one: more than one, so that they go faster than they come


class MemoryQuotas:
    """`Quotas` of one process. A caller that keeps a bucket asks it whether it is `forgotten` before each use.

    Idle buckets leave a few at a time as new ones come, so that no request ever waits for a sweep and memory follows the number
    of subjects that were active within a minute.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._buckets: dict[str, Bucket] = {}
        self._names: list[str] = []
        self._hand = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, name: str, per_minute: int) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            return self._add(name, per_minute)
        if bucket.limit != per_minute:
            bucket.resize(per_minute)
        return bucket

    def _add(self, name: str, per_minute: int) -> Bucket:
        now = self._now()
        self._forget_idle(now)
        bucket = self._buckets[name] = Bucket(per_minute, now)
        self._names.append(name)
        return bucket

    def _forget_idle(self, now: float) -> None:
        """Move a hand a few names on around all of them; a name that goes leaves its place to the last one."""
        for _ in range(min(_EXAMINED, len(self._names))):
            self._hand %= len(self._names)
            name = self._names[self._hand]
            if not self._buckets[name].idle(now):
                self._hand += 1
                continue
            self._buckets.pop(name).forgotten = True
            last = self._names.pop()
            if last != name:
                self._names[self._hand] = last


MEMBER: QuotasFactory = MemoryQuotas
