"""What stands between a store and its runners: who may not run any more is in nobody's way."""

import asyncio
from random import Random

import pytest

from penstock.domain.durable.leases import LEASE_SECONDS, RunnerRecord
from penstock.domain.durable.tasks import TaskStatus
from penstock.domain.principal import Organisation
from penstock.durable.tasks import lease_issuer
from penstock.durable.tasks.submitters import Submitters
from penstock.processes.runner.runner import CLAIM_WAIT_SECONDS
from tests.contract.storage.stores import store_records
from tests.contract.storage.stores.tasks.task_store_client import ORG, START, TaskStoreClient


async def test_claim_without_tasks_returns_before_a_lease_could_expire(client: TaskStoreClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen runner still has its connection, and would be handed what was just taken from it."""
    assert lease_issuer.LONGEST_WAIT_SECONDS < LEASE_SECONDS
    assert CLAIM_WAIT_SECONDS <= lease_issuer.LONGEST_WAIT_SECONDS
    monkeypatch.setattr(lease_issuer, "LONGEST_WAIT_SECONDS", 0.05)
    runner = RunnerRecord("run_1", "r", None, (), 10)
    await client.tasks.register(runner)
    issuer = lease_issuer.LeaseIssuer(client.tasks, Submitters(client.store.accounts, client.clock), lambda org_id: org_id, Random(1))
    async with asyncio.timeout(30):
        assert await issuer.claim_or_wait(runner, 3, (), (), 3600.0) == []


async def test_tasks_that_may_not_run_do_not_hold_up_those_behind_them(client: TaskStoreClient) -> None:
    plan = store_records.plan()
    await client.store.accounts.save_plan(plan)
    await client.store.accounts.create_organisation(Organisation(ORG, "one", plan.name, START))
    await client.runner()
    refused = [await client.submit("noop", key_id="key_gone") for _ in range(7)]
    good = await client.submit("noop")
    issuer = lease_issuer.LeaseIssuer(client.tasks, Submitters(client.store.accounts, client.clock), lambda org_id: org_id, Random(1))
    (lease,) = await issuer.claim("run_1", 3, (), (), None)
    assert lease.task_id == good
    assert {await client.status(task) for task in refused} == {TaskStatus.FAILED}
