from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag

from penstock.domain.errors import Conflict
from penstock.domain.ports import Store
from penstock.domain.workers import UpstreamAccess, WorkerKind, WorkerLoad
from penstock.storage.stores.sql.sealing import Seal
from tests.contract.storage.stores import store_records


async def test_a_worker_comes_back_as_it_was(store: Store) -> None:
    await store.workers.save(store_records.worker())
    assert await store.workers.get("wrk_a") == store_records.worker()
    assert await store.workers.by_public_key(b"\x01" * 32) == store_records.worker()
    assert await store.workers.get("wrk_none") is None
    assert await store.workers.by_public_key(b"\x02" * 32) is None


async def test_saving_again_replaces(store: Store) -> None:
    await store.workers.save(store_records.worker())
    changed = replace(store_records.worker(), models=(), pool=None, secret="another", draining=True, load=WorkerLoad())
    await store.workers.save(changed)
    assert await store.workers.all() == [changed]


async def test_any_number_of_upstreams_have_no_public_key(store: Store) -> None:
    first = replace(store_records.worker("wrk_a", public_key=b"", joined_at=1.0), kind=WorkerKind.UPSTREAM, secret="")
    second = replace(first, id="wrk_b", joined_at=2.0)
    await store.workers.save(second)
    await store.workers.save(first)
    assert await store.workers.all() == [first, second]
    assert await store.workers.by_public_key(b"") is None


async def test_access_of_an_upstream_is_kept_and_sealed(store: Store) -> None:
    access = UpstreamAccess(
        query="api-version=1",
        headers=(("x-team", "blue"),),
        secret_headers=(("api-key", "sk-secret"),),
        client_key="KEY",
        proxy="http://u:p@h:1",
        probe_path="",
        requests_per_minute=5,
    )
    record = replace(store_records.worker("wrk_a", public_key=b""), kind=WorkerKind.UPSTREAM, access=access)
    await store.workers.save(record)
    assert await store.workers.all() == [record]


async def test_two_workers_cannot_share_an_identity(store: Store) -> None:
    await store.workers.save(store_records.worker("wrk_a"))
    with pytest.raises(Conflict):
        await store.workers.save(store_records.worker("wrk_b"))


async def test_a_heartbeat_is_noted_and_is_no_change(store: Store) -> None:
    await store.workers.save(store_records.worker())
    before = (await store.changes.since(0)).version
    assert await store.workers.beat("wrk_a", WorkerLoad(7, 8, 0.5), 99.5)
    assert await store.workers.get("wrk_a") == replace(store_records.worker(), last_seen_at=99.5, load=WorkerLoad(7, 8, 0.5))
    assert (await store.changes.since(before)).version == before
    assert not await store.workers.beat("wrk_none", WorkerLoad(), 99.5)


async def test_a_removed_worker_is_gone(store: Store) -> None:
    await store.workers.save(store_records.worker())
    assert await store.workers.remove("wrk_a")
    assert not await store.workers.remove("wrk_a")
    assert await store.workers.all() == []


def unlocked(secret_key: bytes) -> Seal:
    seal = Seal()
    seal.unlock(secret_key)
    return seal


def test_a_sealed_secret_opens_only_for_its_own_row_and_key() -> None:
    sealed = unlocked(b"k" * 32).seal("wrk_a", "gehëim")
    assert "gehëim".encode() not in sealed
    assert unlocked(b"k" * 32).open("wrk_a", sealed) == "gehëim"
    for seal, row_id, data in (
        (unlocked(b"j" * 32), "wrk_a", sealed),
        (unlocked(b"k" * 32), "wrk_b", sealed),
        (unlocked(b"k" * 32), "wrk_a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ):
        with pytest.raises(InvalidTag):
            seal.open(row_id, data)


def test_sealing_twice_gives_different_bytes() -> None:
    seal = unlocked(b"k" * 32)
    assert seal.seal("wrk_a", "x") != seal.seal("wrk_a", "x")
