"""The table of service tiers: what may be asked for, where it goes, what is billed."""

from dataclasses import replace

import pytest

from penstock.domain.errors import BadRequest, PermissionDenied
from penstock.domain.policy import TIERS, TierPolicy
from penstock.domain.principal import Plan, Pool, ServiceClass, ServiceTier
from penstock.serving.admission.tiers import TierChoice, resolve

DEFAULT, PRIORITY, FLEX, SCALE = ServiceTier.DEFAULT, ServiceTier.PRIORITY, ServiceTier.FLEX, ServiceTier.SCALE


def plan(default: ServiceTier = DEFAULT, tiers: tuple[ServiceTier, ...] = tuple(ServiceTier), *, spill: bool = False) -> Plan:
    return Plan("any", ServiceClass.PREMIUM, default, tiers, 60, 1000, 4, spill)


@pytest.mark.parametrize(
    ("asked", "pools", "tier", "downgrade"),
    [
        ("default", (Pool.STANDARD,), DEFAULT, None),
        ("priority", (Pool.PRIORITY, Pool.STANDARD), PRIORITY, DEFAULT),
        ("fast", (Pool.PRIORITY, Pool.STANDARD), PRIORITY, DEFAULT),
        ("flex", (Pool.OVERFLOW,), FLEX, None),
        ("scale", (Pool.PRIORITY, Pool.STANDARD), SCALE, DEFAULT),
    ],
)
@pytest.mark.parametrize("spill", [False, True])
def test_an_explicit_tier_does_not_depend_on_spilling(
    asked: str,
    pools: tuple[Pool, ...],
    tier: ServiceTier,
    downgrade: ServiceTier | None,
    spill: bool,
) -> None:
    downgraded = frozenset(pools[1:])
    assert resolve(plan(spill=spill), asked) == TierChoice(tier, pools, downgrade, downgraded)
    assert resolve(replace(plan(spill=spill), downgrade=False), asked) == TierChoice(tier, pools[:1]), "it waits for its own pool"


@pytest.mark.parametrize("asked", [None, "auto"])
@pytest.mark.parametrize(
    ("default", "spill", "pools"),
    [
        (DEFAULT, False, (Pool.STANDARD,)),
        (DEFAULT, True, (Pool.STANDARD, Pool.OVERFLOW)),
        (PRIORITY, False, (Pool.PRIORITY,)),
        (PRIORITY, True, (Pool.PRIORITY, Pool.STANDARD)),
        (FLEX, True, (Pool.OVERFLOW,)),
    ],
)
def test_auto_is_the_plans_default_and_spills_if_the_plan_allows(
    asked: str | None,
    default: ServiceTier,
    spill: bool,
    pools: tuple[Pool, ...],
) -> None:
    choice = resolve(plan(default, (default,), spill=spill), asked)
    assert (choice.tier, choice.pools) == (default, pools)


def test_the_tier_served_follows_the_pool() -> None:
    choice = resolve(plan(), "priority")
    assert (choice.served(Pool.PRIORITY), choice.served(Pool.STANDARD)) == (PRIORITY, DEFAULT)
    spilled = resolve(plan(spill=True), None)
    assert (spilled.served(Pool.STANDARD), spilled.served(Pool.OVERFLOW)) == (DEFAULT, DEFAULT)


@pytest.mark.parametrize("asked", ["priority", "fast", "flex", "default"])
def test_a_tier_outside_the_plan_is_refused(asked: str) -> None:
    with pytest.raises(PermissionDenied) as refusal:
        resolve(plan(DEFAULT, ()), asked)
    assert (refusal.value.param, refusal.value.retry) == ("service_tier", False)


def test_scale_without_a_contract_is_served_as_default() -> None:
    assert resolve(plan(DEFAULT, (DEFAULT,)), "scale") == TierChoice(DEFAULT, (Pool.STANDARD,))


@pytest.mark.parametrize("asked", ["", "Default", "gold"])
def test_a_name_that_is_no_tier_is_a_bad_request(asked: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        resolve(plan(), asked)
    assert refusal.value.param == "service_tier"


def test_policy_says_where_a_tier_leads() -> None:
    flex = TierPolicy((Pool.OVERFLOW,), (Pool.STANDARD,), (Pool.PRIORITY,), SCALE)
    choice = resolve(plan(FLEX, spill=True), None, {**TIERS, FLEX: flex})
    assert choice.pools == (Pool.OVERFLOW, Pool.STANDARD, Pool.PRIORITY)
    assert [choice.served(pool) for pool in choice.pools] == [FLEX, FLEX, SCALE]


def test_plan_that_spills_but_takes_no_lower_tier_stays_in_its_own_pools() -> None:
    who = replace(plan(PRIORITY, spill=True), downgrade=False)
    assert resolve(who, None) == TierChoice(PRIORITY, (Pool.PRIORITY,))


def test_scale_without_a_contract_is_not_served_as_a_lower_tier_than_default() -> None:
    lower = TierPolicy((Pool.STANDARD,), (), (Pool.OVERFLOW,), FLEX)
    choice = resolve(plan(DEFAULT, (DEFAULT,)), "scale", {**TIERS, DEFAULT: lower})
    assert choice == TierChoice(DEFAULT, (Pool.STANDARD,))


def test_names_of_the_tiers_served_are_told_for_every_pool() -> None:
    choice = resolve(plan(), "priority")
    assert choice.names == {Pool.PRIORITY: "priority", Pool.STANDARD: "default", Pool.OVERFLOW: "priority"}
