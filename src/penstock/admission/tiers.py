"""`service_tier`: which pools a request may be placed in, and which tier is served and billed there."""

from dataclasses import dataclass
from functools import cache

from penstock.domain.errors import BadRequest, PermissionDenied
from penstock.domain.principal import Plan, Pool, ServiceTier

_NAMES = {
    "default": ServiceTier.DEFAULT,
    "priority": ServiceTier.PRIORITY,
    "fast": ServiceTier.PRIORITY,
    "flex": ServiceTier.FLEX,
    "scale": ServiceTier.SCALE,
}


@dataclass(frozen=True, slots=True)
class TierChoice:
    """What a request's tier means. `pools` in order of preference; a later one only when the earlier ones have no slot."""

    tier: ServiceTier
    pools: tuple[Pool, ...]
    downgrade: ServiceTier | None = None
    """The tier that is served and billed in any pool but the first; None: it stays the same."""

    def served_name(self, pool: Pool) -> str:
        """`served` as a plain string, prepared once: it goes into every answer and record."""
        return _served_names(self)[pool]

    def served(self, pool: Pool) -> ServiceTier:
        """The tier that the response names and the ledger bills."""
        return self.tier if self.downgrade is None or pool is self.pools[0] else self.downgrade


@cache
def _served_names(choice: TierChoice) -> dict[Pool, str]:
    return {pool: choice.served(pool).value for pool in Pool}


_STANDARD = TierChoice(ServiceTier.DEFAULT, (Pool.STANDARD,))
_ASKED = {
    ServiceTier.DEFAULT: _STANDARD,
    # Priority that finds its pool full is served as an ordinary request at the ordinary price rather than refused.
    ServiceTier.PRIORITY: TierChoice(ServiceTier.PRIORITY, (Pool.PRIORITY, Pool.STANDARD), ServiceTier.DEFAULT),
    # Flex never moves up: it is cheap because it is the first to be shed.
    ServiceTier.FLEX: TierChoice(ServiceTier.FLEX, (Pool.OVERFLOW,)),
    ServiceTier.SCALE: TierChoice(ServiceTier.SCALE, (Pool.PRIORITY, Pool.STANDARD), ServiceTier.DEFAULT),
}
_OWN_POOL = {tier: TierChoice(tier, choice.pools[:1]) for tier, choice in _ASKED.items()}
# Ordinary traffic may borrow idle overflow workers, never the reserve that others pay for.
_SPILL = _ASKED | {ServiceTier.DEFAULT: TierChoice(ServiceTier.DEFAULT, (Pool.STANDARD, Pool.OVERFLOW))}


def resolve(plan: Plan, asked: str | None) -> TierChoice:
    """The choice for a request of this plan.

    None and `auto` are the plan's default tier, which may use another pool when the plan allows it (`spill`). `scale` without a
    contract is served as `default`, as OpenAI does. Raises PermissionDenied for another tier that the plan does not include,
    BadRequest for a name that is none.
    """
    if asked is None or asked == "auto":
        return (_SPILL if plan.spill else _OWN_POOL)[plan.default_tier]
    tier = _NAMES.get(asked)
    if tier is None:
        raise BadRequest(f"service_tier must be one of: auto, {', '.join(_NAMES)}.", param="service_tier")
    if tier in plan.tiers:
        return _ASKED[tier]
    if tier is ServiceTier.SCALE:
        return _STANDARD
    raise PermissionDenied(f"The plan {plan.name!r} does not include service_tier {asked!r}.", param="service_tier", retry=False)
