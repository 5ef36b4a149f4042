"""What stands between a store and its runners: who may not run any more is in nobody's way."""

import asyncio
import json
from random import Random

import pytest

from penstock.domain.durable.leases import LEASE_SECONDS, LeaseRef, RunnerRecord
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


async def with_organisation(client: TaskStoreClient) -> lease_issuer.LeaseIssuer:
    plan = store_records.plan()
    await client.store.accounts.save_plan(plan)
    await client.store.accounts.create_organisation(Organisation(ORG, "one", plan.name, START))
    await client.runner()
    return lease_issuer.LeaseIssuer(client.tasks, Submitters(client.store.accounts, client.clock), lambda org_id: org_id, Random(1))


async def parent_with_result(client: TaskStoreClient, result: str) -> str:
    parent = await client.submit("parent")
    await client.run(result=result)
    return parent


async def test_tasks_that_may_not_run_do_not_hold_up_those_behind_them(client: TaskStoreClient) -> None:
    issuer = await with_organisation(client)
    refused = [await client.submit("noop", key_id="key_gone") for _ in range(7)]
    good = await client.submit("noop")
    (lease,) = await issuer.claim("run_1", 3, (), (), None)
    assert lease.task_id == good
    assert {await client.status(task) for task in refused} == {TaskStatus.FAILED}


async def test_child_that_would_grow_too_large_fails_and_the_next_one_is_given_out(client: TaskStoreClient) -> None:
    issuer = await with_organisation(client)
    parent = await parent_with_result(client, json.dumps("x" * 800_000))
    greedy = await client.submit("greedy", [parent], payload=json.dumps([{"$result": parent}] * 12_000))
    modest = await client.submit("modest", [parent], payload=json.dumps([{"$result": parent}] * 2))
    (lease,) = await issuer.claim("run_1", 1, (), (), None)
    assert (lease.task_id, len(json.loads(lease.payload)[1])) == (modest, 800_000)
    detail = await client.tasks.task(ORG, greedy)
    assert detail is not None
    assert detail.task.error is not None
    assert (detail.task.status, detail.task.error.code) == (TaskStatus.FAILED, "payload_too_large")


async def test_task_that_two_gateways_did_not_survive_is_set_aside(client: TaskStoreClient) -> None:
    issuer = await with_organisation(client)
    parent = await parent_with_result(client, json.dumps("x" * 100_000))
    child = await client.submit("child", [parent], payload=json.dumps({"$result": parent}), max_attempts=1_000)
    for _ in range(2):
        (lease,) = await client.claim()
        await client.tasks.note_resolving("run_1", LeaseRef(lease.task_id, lease.lease_seq))  # and there the gateway ends
        client.clock.advance(LEASE_SECONDS)
        await client.tasks.heartbeat("run_1", [])
    assert await issuer.claim("run_1", 1, (), (), None) == []
    detail = await client.tasks.task(ORG, child)
    assert detail is not None
    assert detail.task.error is not None
    assert (detail.task.status, detail.task.error.code) == (TaskStatus.FAILED, "set_aside")
    assert list(await client.tasks.retry(ORG, [child])) == [child]
    (lease,) = await issuer.claim("run_1", 1, (), (), None)
    assert lease.task_id == child


async def test_task_that_one_gateway_did_not_survive_is_given_out_and_its_note_forgotten(client: TaskStoreClient) -> None:
    issuer = await with_organisation(client)
    parent = await parent_with_result(client, json.dumps("x" * 100_000))
    child = await client.submit("child", [parent], payload=json.dumps({"$result": parent}))
    (lease,) = await client.claim()
    await client.tasks.note_resolving("run_1", LeaseRef(child, lease.lease_seq))
    client.clock.advance(LEASE_SECONDS)
    await client.tasks.heartbeat("run_1", [])
    (lease,) = await issuer.claim("run_1", 1, (), (), None)
    assert await client.tasks.note_resolving("run_1", LeaseRef(child, lease.lease_seq)) == 0


async def test_claim_gives_back_what_would_make_its_answer_too_large(client: TaskStoreClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_issuer, "_ANSWER_CHARACTERS", 250_000)
    issuer = await with_organisation(client)
    tasks = [await client.submit("large", payload=json.dumps("x" * 100_000)) for _ in range(5)]
    first = await issuer.claim("run_1", 5, (), (), None)
    assert [lease.task_id for lease in first] == tasks[:3]
    second = await issuer.claim("run_1", 5, (), (), None)
    assert [(lease.task_id, lease.attempt) for lease in second] == [(tasks[3], 1), (tasks[4], 1)]
