"""`service_tier`: which pools a request may be placed in, and which tier is served and billed there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from penstock.domain.errors import BadRequest, PermissionDenied
from penstock.domain.policy import TIERS, TierPolicy
from penstock.domain.principal import Plan, Pool, ServiceTier

_NAMES = {
    "default": ServiceTier.DEFAULT,
    "priority": ServiceTier.PRIORITY,
    "fast": ServiceTier.PRIORITY,
    "flex": ServiceTier.FLEX,
    "scale": ServiceTier.SCALE,
}


@dataclass(frozen=True)
class TierChoice:
    """What a request's tier means. `pools` in order of preference; a later one only when the earlier ones have no slot."""

    tier: ServiceTier
    pools: tuple[Pool, ...]
    downgrade: ServiceTier | None = None
    """The tier that is served and billed in the pools of `downgraded`."""
    downgraded: frozenset[Pool] = frozenset()

    @cached_property
    def names(self) -> Mapping[Pool, str]:
        """`served` as plain strings, prepared once: one goes into every answer and record."""
        return {pool: self.served(pool).value for pool in Pool}

    def served(self, pool: Pool) -> ServiceTier:
        """The tier that the response names and the ledger bills."""
        return self.tier if self.downgrade is None or pool not in self.downgraded else self.downgrade


def resolve(plan: Plan, asked: str | None, tiers: Mapping[ServiceTier, TierPolicy] = TIERS) -> TierChoice:
    """The choice for a request of this plan.

    None and `auto` are the plan's default tier, which may use further pools when the plan spills. A tier that was asked for by name
    may use only those in which a lower one is served, when the plan accepts that. `scale` without a contract is served as `default`,
    as OpenAI does. Raises PermissionDenied for another tier that the plan does not include, BadRequest for a name that is none.
    """
    if asked is None or asked == "auto":
        rule = tiers[plan.default_tier]
        return _choice(plan.default_tier, rule, rule.spill if plan.spill else (), downgrade=plan.spill and plan.downgrade)
    tier = _NAMES.get(asked)
    if tier is None:
        raise BadRequest(f"service_tier must be one of: auto, {', '.join(_NAMES)}.", param="service_tier")
    if tier in plan.tiers:
        return _choice(tier, tiers[tier], (), downgrade=plan.downgrade)
    if tier is ServiceTier.SCALE:
        return _choice(ServiceTier.DEFAULT, tiers[ServiceTier.DEFAULT], (), downgrade=False)
    raise PermissionDenied(f"The plan {plan.name!r} does not include service_tier {asked!r}.", param="service_tier", retry=False)


def _choice(tier: ServiceTier, rule: TierPolicy, spill: tuple[Pool, ...], *, downgrade: bool) -> TierChoice:
    lower = rule.downgrade if downgrade else ()
    if not lower:
        return TierChoice(tier, rule.pools + spill)
    return TierChoice(tier, rule.pools + spill + lower, rule.downgrade_to, frozenset(lower))
