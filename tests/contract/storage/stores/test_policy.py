import asyncio
from dataclasses import replace

import pytest

from penstock.domain.errors import Conflict
from penstock.domain.policy import ClassPolicy, Policy, PolicyVersion, RoutingPolicy, Shedding, TierPolicy
from penstock.domain.ports import Store
from penstock.domain.principal import Pool, ServiceClass, ServiceTier
from tests.contract.storage.stores import store_records

FREE, GOLD = store_records.plan("free"), replace(store_records.plan("gold"), spill=False, downgrade=False)
POLICY = Policy(
    plans=(FREE, GOLD),
    classes={each: ClassPolicy(each + 1, each + 2, each + 0.5) for each in ServiceClass},
    tiers={each: TierPolicy((Pool.STANDARD,), (Pool.OVERFLOW,), (Pool.PRIORITY,), ServiceTier.DEFAULT) for each in ServiceTier},
    priority_reserve=0.25,
    overflow_reserve=0.5,
    tenant_weights={"org_ü": 2.5},
    routing=RoutingPolicy("power_of_two"),
    models={"org/modèle:70b": RoutingPolicy("round_robin", "power_of_two")},
    shedding=Shedding(1.5, 2.5),
    preempt_batch=False,
)


def version(number: int, policy: Policy = POLICY) -> PolicyVersion:
    return PolicyVersion(number, policy, "key_a", "warum: 水", 1.5)


async def test_a_new_store_has_none(store: Store) -> None:
    assert (await store.policies.get(), await store.policies.get(1), await store.policies.page(10)) == (None, None, [])


async def test_a_version_is_read_back_as_it_was_written(store: Store) -> None:
    assert await store.policies.save(version(1))
    assert await store.policies.save(version(2, Policy(plans=(FREE, GOLD))))
    assert await store.policies.get(1) == version(1)
    assert await store.policies.get() == version(2, Policy(plans=(FREE, GOLD)))
    assert [each.version for each in await store.policies.page(10)] == [2, 1]
    assert [each.version for each in await store.policies.page(1)] == [2]
    assert [each.version for each in await store.policies.page(10, before=2)] == [1]


async def test_its_plans_are_the_plans(store: Store) -> None:
    await store.accounts.save_plan(store_records.plan("old"))
    await store.policies.save(version(1))
    assert await store.accounts.plans() == [FREE, GOLD]
    changed = replace(GOLD, concurrency=99)
    before = (await store.changes.since(0)).version
    await store.policies.save(version(2, replace(POLICY, plans=(FREE, changed))))
    assert await store.accounts.plans() == [FREE, changed]
    assert (await store.changes.since(before)).subjects == {("plan", "gold"), ("policy", "2")}


async def test_only_the_next_version_is_taken(store: Store) -> None:
    assert not await store.policies.save(version(2))
    assert await store.policies.save(version(1))
    assert not await store.policies.save(version(1, Policy()))
    assert await store.policies.get() == version(1)


async def test_of_two_at_the_same_time_one_is_first(store: Store) -> None:
    both = [version(1), version(1, replace(POLICY, preempt_batch=True))]
    saved = await asyncio.gather(*(store.policies.save(each) for each in both))
    assert sorted(saved) == [False, True]
    assert await store.policies.get() == both[saved.index(True)]


async def test_policy_without_a_plan_in_use_is_refused_and_changes_nothing(store: Store) -> None:
    await store.accounts.save_plan(FREE)
    await store.accounts.create_organisation(store_records.organisation())
    before = (await store.changes.since(0)).version
    with pytest.raises(Conflict) as refused:
        await store.policies.save(version(1, Policy(plans=(GOLD,))))
    assert refused.value.param == "plans"
    assert (await store.policies.get(), await store.accounts.plans(), (await store.changes.since(0)).version) == (None, [FREE], before)
