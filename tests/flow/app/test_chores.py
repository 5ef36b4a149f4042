"""What a gateway does beside the traffic."""

import asyncio
from dataclasses import replace
from pathlib import Path

from penstock.app.gateway.chores import Chore, Chores, forget_workers
from penstock.domain.errors import PortUnavailable
from penstock.domain.workers import WorkerKind
from tests.contract.storage.stores import store_records
from tests.support.gateway import platform


async def test_a_chore_that_fails_is_tried_again() -> None:
    done = asyncio.Event()
    problems: list[Exception] = [PortUnavailable("the store is away"), RuntimeError("a bug")]

    async def fail_twice() -> None:
        if problems:
            raise problems.pop(0)
        done.set()

    chores = Chores()
    chores.start(Chore("stubborn", 0.001, fail_twice))
    await asyncio.wait_for(done.wait(), 5)
    await chores.close()


async def test_only_workers_that_are_long_gone_are_forgotten(tmp_path: Path) -> None:
    async with platform(tmp_path) as one:
        store = one.gateway.store
        gone = replace(store_records.worker("wrk_gone", public_key=b"\x01" * 32), last_seen_at=10.0)
        lives = replace(store_records.worker("wrk_lives", public_key=b"\x02" * 32), last_seen_at=10.0)
        recent = replace(store_records.worker("wrk_recent", public_key=b"\x03" * 32), last_seen_at=1000.0)
        upstream = replace(store_records.worker("wrk_upstream", public_key=b""), kind=WorkerKind.UPSTREAM, last_seen_at=10.0)
        for record in (gone, lives, recent, upstream):
            await store.workers.save(record)
        assert await forget_workers(store.workers, 1000.0, alive={"wrk_lives"}) == ["wrk_gone"]
        assert {record.id for record in await store.workers.all()} == {"wrk_lives", "wrk_recent", "wrk_upstream"}
