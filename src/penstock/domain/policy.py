"""Policy: how the platform treats its customers, as one frozen value. It lives in the store, with versions, edited while all runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from penstock.domain.principal import Plan, Pool, ServiceClass, ServiceTier


@dataclass(frozen=True, slots=True)
class ClassPolicy:
    """How a class is queued."""

    weight: int
    """Its share of a contended model, relative to the other classes that wait."""
    bound: int
    """The most requests of it that may wait for one model."""
    patience_seconds: float
    """Who has waited longer is promoted."""


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """Where requests of a service tier may be placed: pools in order of preference."""

    pools: tuple[Pool, ...]
    spill: tuple[Pool, ...] = ()
    """Further ones at the same tier, when the tier was not asked for by name and the plan spills."""
    downgrade: tuple[Pool, ...] = ()
    """Further ones in which `downgrade_to` is served and billed, when the plan accepts it."""
    downgrade_to: ServiceTier | None = None


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How a model's workers are chosen: names of the family `routing/policies`; None: as the gateway's settings say."""

    policy: str | None = None
    shadow: str | None = None
    """Decides too, and its choice is only recorded."""


@dataclass(frozen=True, slots=True)
class Shedding:
    """Batch is refused at random before the queue is full: with p = min(factor x saturation^exponent, 1)."""

    batch_factor: float = 300.0
    batch_exponent: float = 5.0


_SYSTEM, _ENTERPRISE, _PREMIUM, _FREE, _BATCH = ServiceClass
CLASSES: Mapping[ServiceClass, ClassPolicy] = MappingProxyType(
    {
        _SYSTEM: ClassPolicy(2048, 64, 5.0),
        _ENTERPRISE: ClassPolicy(512, 256, 5.0),
        _PREMIUM: ClassPolicy(128, 512, 15.0),
        _FREE: ClassPolicy(32, 512, 30.0),
        _BATCH: ClassPolicy(8, 1024, 120.0),
    }
)
TIERS: Mapping[ServiceTier, TierPolicy] = MappingProxyType(
    {
        # Ordinary traffic may borrow idle overflow workers, never the reserve that others pay for.
        ServiceTier.DEFAULT: TierPolicy((Pool.STANDARD,), spill=(Pool.OVERFLOW,)),
        # Priority that finds its pool full is served as an ordinary request at the ordinary price rather than refused.
        ServiceTier.PRIORITY: TierPolicy((Pool.PRIORITY,), downgrade=(Pool.STANDARD,), downgrade_to=ServiceTier.DEFAULT),
        # Flex never moves up: it is cheap because it is the first to be shed.
        ServiceTier.FLEX: TierPolicy((Pool.OVERFLOW,)),
        ServiceTier.SCALE: TierPolicy((Pool.PRIORITY,), downgrade=(Pool.STANDARD,), downgrade_to=ServiceTier.DEFAULT),
    }
)


@dataclass(frozen=True)
class Policy:
    """The defaults are what a new installation runs under, but for its plans."""

    plans: tuple[Plan, ...] = ()
    classes: Mapping[ServiceClass, ClassPolicy] = field(default_factory=lambda: dict(CLASSES))
    tiers: Mapping[ServiceTier, TierPolicy] = field(default_factory=lambda: dict(TIERS))
    priority_reserve: float | None = None
    """Share of a model's slots that only the priority pool may use; None: the gateway's setting."""
    overflow_reserve: float | None = None
    """Share of a model's slots that must be idle before the overflow pool may use one; None: the gateway's setting."""
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    """By organisation: its share among those of its class; who is not named has 1."""
    routing: RoutingPolicy = RoutingPolicy()
    """Of models that are not named in `models`."""
    models: Mapping[str, RoutingPolicy] = field(default_factory=dict)
    shedding: Shedding = Shedding()
    preempt_batch: bool = True
    """A batch request that has not answered yet gives its slot to a waiting request of a class above it."""

    def routing_of(self, model: str) -> RoutingPolicy:
        """What its own entry does not say, the general one does."""
        own = self.models.get(model, self.routing)
        return RoutingPolicy(own.policy or self.routing.policy, own.shadow or self.routing.shadow)


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One edit of the policy, whole. Version 0 is what a store has before the first edit."""

    version: int
    policy: Policy
    author: str = ""
    """Id of the key that it was made with."""
    comment: str = ""
    created_at: float = 0.0
