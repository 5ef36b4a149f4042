"""Runners in this process that are joined over HTTP, or on PostgreSQL: the same loop, the same ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.accounts.bootstrap import first_start
from penstock.app.gateway.tasks import task_services as make_task_services
from penstock.app.runner import make_runner
from penstock.app.settings import RunnerSettings, Settings
from penstock.base import identity
from penstock.domain.clock import SystemClock
from penstock.domain.durable.tasks import Task, TaskStatus
from penstock.domain.ids import RequestIds, new_id
from penstock.domain.principal import KeyActor, Principal
from penstock.durable.tasks.services import TaskServices
from penstock.durable.tasks.submission import TaskSpec
from penstock.net.join_client import JoinRefused
from penstock.processes.runner.link import DirectLink
from penstock.processes.runner.remote import RemoteLink
from penstock.processes.runner.runner import Runner
from penstock.storage.stores import open_store
from tests.flow.edge.control_api import NoInference
from tests.support.gateway import MODEL, Client, Platform, ScriptedServer, platform, scripted, well
from tests.support.postgres import database
from tests.support.task_api_client import ANSWER_SECONDS, MODULE, TERMINAL
from tests.support.waiting import until, until_answer

CHAT = {"url": "/v1/chat/completions", "body": {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}}


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[asyncio.Task[None]]:
    await runner.open()
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        runner.stop()
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.gather(task, return_exceptions=True)
        await runner.close()


@asynccontextmanager
async def remote(
    gate: Platform, directory: Path, token: str | None = None, name: str = "remote", **settings: Any
) -> AsyncIterator[tuple[Runner, asyncio.Task[None]]]:
    own = identity.load(directory / name)
    try:
        link = RemoteLink(gate.gateway.base_url, token or gate.first.join_token, own, SystemClock())
        wanted = RunnerSettings(**{"processes": 2, "drain_seconds": 2, **settings})
        runner = make_runner(Settings(imports=(MODULE,), runner=wanted), link, link, name)
        async with running(runner) as task:
            yield runner, task
    finally:
        own.close()


async def submit(gate: Platform, **body: Any) -> str:
    answer = await gate.http.post("/api/tasks", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def over(gate: Platform, task_id: str, statuses: frozenset[str] | set[str] = TERMINAL) -> dict[str, Any]:
    async def show() -> dict[str, Any]:
        shown: dict[str, Any] = (await gate.http.get(f"/api/tasks/{task_id}")).json()
        return shown

    return await until_answer(show, lambda shown: shown["status"] in statuses, ANSWER_SECONDS)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted(well) as (one,):
        yield one


@pytest.fixture
async def gate(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform(tmp_path / "gate", [server.url]) as started:
        yield started


async def test_remote_runner_runs_functions_and_inferences(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path):
        assert (await over(gate, await submit(gate, name="add", payload=[2, 3])))["result"] == 5
        task = await over(gate, await submit(gate, kind="inference", payload=CHAT))
        assert (task["status"], task["result"]["status_code"]) == ("succeeded", 200)
        (record,) = await gate.records()
        assert (record.service_class, record.request_id) == ("batch", task["result"]["request_id"])
        (listed,) = (await gate.http.get("/api/runners")).json()["data"]
        assert listed["name"] == "remote"
        assert {"inference", "webhook", "function:add"} <= set(listed["kinds"])
    assert (await gate.http.get("/api/runners")).json()["data"] == [], "it said goodbye"


async def test_cancelling_a_remote_runners_inference_stops_the_generation(gate: Platform, server: ScriptedServer, tmp_path: Path) -> None:
    asked: list[Client] = []

    async def never(client: Client) -> None:
        asked.append(client)
        await client.until_gone()

    server.script = never
    async with remote(gate, tmp_path):
        task_id = await submit(gate, kind="inference", payload=CHAT)
        await until(lambda: asked, 10)
        await gate.http.post(f"/api/tasks/{task_id}/cancel")
        assert (await over(gate, task_id))["status"] == "cancelled"
        await asyncio.wait_for(asked[0].gone.wait(), 5)
    await gate.until_quiet()


async def test_a_runner_with_a_bad_token_ends_with_the_reason(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path, token="pjt-nothing") as (_, task):
        with pytest.raises(JoinRefused, match="join token is not valid"):
            async with asyncio.timeout(ANSWER_SECONDS):
                await task


async def test_a_forgotten_runner_joins_again(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path) as (runner, _):
        await runner.joined.until(lambda: runner.id, 10)
        first = runner.id
        await gate.gateway.store.tasks.forget_runner(first)
        await runner.joined.until(lambda: runner.id != first, 15)
        assert (await over(gate, await submit(gate, name="add", payload=[1, 1])))["result"] == 2


async def test_drained_runner_gets_no_task_and_another_runner_takes_it(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path) as (runner, _):
        await runner.joined.until(lambda: runner.id, 10)
        await gate.http.post(f"/api/runners/{runner.id}/drain")
        task_id = await submit(gate, name="add", payload=[1, 1])
        async with remote(gate, tmp_path, name="second"):
            assert (await over(gate, task_id))["runner"] != runner.id


async def test_function_of_a_joined_runner_submits_with_the_rights_of_its_task(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path):
        shown = await over(gate, await submit(gate, name="added_elsewhere", payload=[2, 3]))
        assert (shown["status"], shown["result"]) == ("succeeded", 5), shown["error"]
        (child,) = (await gate.http.get("/api/tasks", params={"name": "add"})).json()["data"]
        assert (child["status"], child["key_id"]) == ("succeeded", shown["key_id"])


async def test_runner_with_queues_serves_only_them(gate: Platform, tmp_path: Path) -> None:
    async with remote(gate, tmp_path, queues=("urgent=1", "low")):
        waiting = await submit(gate, name="add", payload=[1, 1])
        for queue in ("urgent", "low"):
            assert (await over(gate, await submit(gate, name="add", payload=[1, 1], queue=queue)))["status"] == "succeeded"
        assert (await over(gate, waiting, {"ready"}))["attempt"] == 0


async def test_a_runner_on_postgresql_needs_no_gateway(tmp_path: Path) -> None:
    """Submitted on one connection to the database, executed by a runner that talks to the database alone."""
    with database() as url:
        store = await open_store(url, migrate=True)
        try:
            first = await first_start(store.accounts, b"secret", SystemClock())
            assert first is not None
            (key,) = await store.accounts.keys()
            caller = Principal(key.org_id, KeyActor(key.id), (await store.accounts.plans())[0], key.scopes)
            tasks = make_task_services(store, NoInference(), b"secret", SystemClock(), RequestIds())
            link = DirectLink(store.tasks, tasks.lease_issuer, new_id("run"))
            settings = Settings(imports=(MODULE,), runner=RunnerSettings(processes=1, drain_seconds=2))
            async with running(make_runner(settings, link, None, "direct")):
                specs = [
                    TaskSpec(name="add", payload=msgspec.Raw(b"[2,3]")),
                    TaskSpec(kind="inference", payload=msgspec.Raw(b'{"url":"/v1/embeddings","body":{}}')),
                ]
                added, inference = await tasks.service.submit(caller, specs)
                task = await succeeded(tasks, caller, added.id)
                assert task.result == "5"
                left = (await tasks.service.detail(caller, inference.id)).task
                assert left.status is TaskStatus.READY, "left to those who have a gateway"
        finally:
            await store.close()


async def succeeded(tasks: TaskServices, caller: Principal, task_id: str) -> Task:
    detail = await until_answer(
        lambda: tasks.service.detail(caller, task_id), lambda detail: detail.task.status is TaskStatus.SUCCEEDED, ANSWER_SECONDS
    )
    return detail.task
