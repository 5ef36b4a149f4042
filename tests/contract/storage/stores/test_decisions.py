"""Decisions: kept as they were, each once, by organisation, and forgotten in time."""

from msgspec.structs import replace

from penstock.domain.ports import Store
from tests.support.explanations import FULL


async def test_saved_decisions_are_read_back_unchanged_and_newest_first(store: Store) -> None:
    other = replace(FULL, id="req_2", org_id="org_b", started_at=200.0)
    await store.decisions.save([FULL, other])
    await store.decisions.save([])
    assert await store.decisions.get("req_1") == FULL
    assert await store.decisions.get("req_9") is None
    assert await store.decisions.latest(None, 10) == [other, FULL]
    assert await store.decisions.latest("org_a", 10) == [FULL]
    assert await store.decisions.latest(None, 1) == [other]


async def test_the_first_version_stays(store: Store) -> None:
    await store.decisions.save([FULL])
    await store.decisions.save([replace(FULL, model="another"), replace(FULL, id="req_3")])
    assert await store.decisions.get("req_1") == FULL
    assert await store.decisions.get("req_3") is not None


async def test_old_ones_are_forgotten(store: Store) -> None:
    await store.decisions.save([FULL, replace(FULL, id="req_2", started_at=200.0)])
    assert await store.decisions.forget(150.0) == 1
    assert await store.decisions.forget(150.0) == 0
    assert [each.id for each in await store.decisions.latest(None, 10)] == ["req_2"]
