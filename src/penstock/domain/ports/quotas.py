"""What gateways share and may forget. Plain calls: a shared implementation answers from what it has leased beforehand."""

from typing import Protocol

from penstock.domain.bucket import Bucket
from penstock.domain.clock import Clock


class Quotas(Protocol):
    """Buckets by name, the same object for the same name as long as it is in use."""

    def bucket(self, name: str, per_minute: int) -> Bucket:
        """A changed limit takes effect on the existing bucket."""
        ...


class QuotasFactory(Protocol):
    """`MEMBER` of the family `state`."""

    def __call__(self, clock: Clock, /) -> Quotas: ...
