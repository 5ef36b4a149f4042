import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.domain.errors import Conflict
from penstock.domain.models import ModelRecord, Price
from penstock.domain.ports import Changes, Store
from penstock.storage.stores.sql import changes as _changes
from tests.contract.storage.stores import store_records

Write = Callable[[Store], Awaitable[object]]

WRITES: list[tuple[str, str, Write]] = [
    ("organisation", "org_a", lambda store: store.accounts.create_organisation(store_records.organisation())),
    ("organisation", "org_a", lambda store: store.accounts.update_organisation(store_records.organisation())),
    ("plan", "free", lambda store: store.accounts.save_plan(store_records.plan())),
    ("key", "key_a", lambda store: store.accounts.create_key(store_records.key())),
    ("key", "key_a", lambda store: store.accounts.revoke_key("key_a", 1.0)),
    ("model", "m", lambda store: store.catalog.save_model(ModelRecord("m", Price()))),
    ("model", "m", lambda store: store.catalog.remove_model("m")),
    ("worker", "wrk_a", lambda store: store.workers.save(store_records.worker())),
    ("worker", "wrk_a", lambda store: store.workers.remove("wrk_a")),
    ("join_token", "jtk_a", lambda store: store.accounts.create_join_token(store_records.join_token())),
    ("join_token", "jtk_a", lambda store: store.accounts.revoke_join_token("jtk_a", 1.0)),
]


async def test_a_new_store_has_changed_nothing(store: Store) -> None:
    assert await store.changes.since(0) == Changes(0, frozenset())


async def test_every_policy_write_is_told_with_the_next_version(store: Store) -> None:
    for version, (kind, subject, write) in enumerate(WRITES):
        await write(store)
        assert await store.changes.since(version) == Changes(version + 1, frozenset({(kind, subject)}))
    everything = frozenset((kind, subject) for kind, subject, _ in WRITES)
    assert await store.changes.since(0) == Changes(len(WRITES), everything)


async def test_a_write_that_found_nothing_or_failed_is_no_change(store: Store) -> None:
    await store.accounts.create_organisation(store_records.organisation())
    await store.accounts.revoke_key("key_none", 1.0)
    await store.catalog.remove_model("none")
    await store.accounts.update_organisation(store_records.organisation("org_none"))
    with pytest.raises(Conflict):
        await store.accounts.create_organisation(store_records.organisation())
    assert (await store.changes.since(0)).version == 1


async def test_a_reader_beside_many_writers_misses_nothing(store: Store) -> None:
    seen: set[tuple[str, str]] = set()
    version = 0
    writes = [asyncio.ensure_future(store.catalog.save_model(ModelRecord(f"m{n}", Price()))) for n in range(60)]
    while version < len(writes):
        changes = await store.changes.since(version)
        assert len(changes.subjects) == changes.version - version  # no gap: as many subjects as versions
        seen |= changes.subjects
        version = changes.version
    await asyncio.gather(*writes)
    assert seen == {("model", f"m{n}") for n in range(60)}


async def test_a_version_that_is_too_old_or_from_the_future_gets_everything(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_changes, "KEPT_VERSIONS", 5)
    monkeypatch.setattr(_changes, "TOLD_VERSIONS", 4)
    for number in range(10):
        await store.catalog.save_model(ModelRecord(f"m{number}", Price()))
    everything = Changes(10, _changes.EVERYTHING)
    assert await store.changes.since(5) == everything
    assert await store.changes.since(11) == everything
    assert await store.changes.since(6) == Changes(10, frozenset(("model", f"m{n}") for n in (6, 7, 8, 9)))
