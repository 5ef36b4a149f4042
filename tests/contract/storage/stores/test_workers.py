from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag

from penstock.domain.errors import Conflict
from penstock.domain.ports import Store
from penstock.domain.workers import WorkerKind, WorkerLoad
from penstock.storage.stores.sql.sealing import Seal
from tests.contract.storage.stores import values


async def test_a_worker_comes_back_as_it_was(store: Store) -> None:
    await store.save_worker(values.worker())
    assert await store.worker("wrk_a") == values.worker()
    assert await store.worker_by_public_key(b"\x01" * 32) == values.worker()
    assert await store.worker("wrk_none") is None
    assert await store.worker_by_public_key(b"\x02" * 32) is None


async def test_saving_again_replaces(store: Store) -> None:
    await store.save_worker(values.worker())
    changed = replace(values.worker(), models=(), pool=None, secret="another", draining=True, load=WorkerLoad())
    await store.save_worker(changed)
    assert await store.workers() == [changed]


async def test_any_number_of_upstreams_have_no_public_key(store: Store) -> None:
    first = replace(values.worker("wrk_a", public_key=b"", joined_at=1.0), kind=WorkerKind.UPSTREAM, secret="")
    second = replace(first, id="wrk_b", joined_at=2.0)
    await store.save_worker(second)
    await store.save_worker(first)
    assert await store.workers() == [first, second]
    assert await store.worker_by_public_key(b"") is None


async def test_two_workers_cannot_share_an_identity(store: Store) -> None:
    await store.save_worker(values.worker("wrk_a"))
    with pytest.raises(Conflict):
        await store.save_worker(values.worker("wrk_b"))


async def test_a_heartbeat_is_noted_and_is_no_change(store: Store) -> None:
    await store.save_worker(values.worker())
    before = (await store.changes_since(0)).version
    assert await store.beat("wrk_a", WorkerLoad(7, 8, 0.5), 99.5)
    assert await store.worker("wrk_a") == replace(values.worker(), last_seen_at=99.5, load=WorkerLoad(7, 8, 0.5))
    assert (await store.changes_since(before)).version == before
    assert not await store.beat("wrk_none", WorkerLoad(), 99.5)


async def test_a_removed_worker_is_gone(store: Store) -> None:
    await store.save_worker(values.worker())
    assert await store.remove_worker("wrk_a")
    assert not await store.remove_worker("wrk_a")
    assert await store.workers() == []


def test_a_sealed_secret_opens_only_for_its_own_row_and_key() -> None:
    sealed = Seal(b"k" * 32).seal("wrk_a", "gehëim")
    assert "gehëim".encode() not in sealed
    assert Seal(b"k" * 32).open("wrk_a", sealed) == "gehëim"
    for seal, row_id, data in (
        (Seal(b"j" * 32), "wrk_a", sealed),
        (Seal(b"k" * 32), "wrk_b", sealed),
        (Seal(b"k" * 32), "wrk_a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ):
        with pytest.raises(InvalidTag):
            seal.open(row_id, data)


def test_sealing_twice_gives_different_bytes() -> None:
    seal = Seal(b"k" * 32)
    assert seal.seal("wrk_a", "x") != seal.seal("wrk_a", "x")
