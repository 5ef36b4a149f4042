"""Every example of docs/extending.md runs: members of families through their conformance suites, the others in what they extend."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from prometheus_client import CollectorRegistry, generate_latest
from typer.testing import CliRunner

from penstock.app.settings import SettingsError
from penstock.base import family
from penstock.compute.worker import Worker
from penstock.domain.clock import ManualClock
from penstock.domain.durable.leases import Lease
from penstock.domain.errors import QuotaExhausted
from penstock.domain.models import ModelRecord, Price
from penstock.domain.tokens import TokenCount
from penstock.durable.tasks.outcome import AttemptFailed, Succeeded
from penstock.processes.runner import functions
from penstock.processes.runner.task_kind import KindOptions
from penstock.serving.admission.gate import Gate
from penstock.storage.state.memory import MemoryQuotas
from penstock.storage.stores import open_store
from tests.contract.compute.engines.subjects import chunks, serving
from tests.contract.extending.page import EXAMPLES, imported, write
from tests.flow.cli.fake_gateway import ADMIN_KEY, FakeGatewayState, running
from tests.flow.edge.control_api import gateway
from tests.support.sources import ROOT
from tests.unit.serving.admission.principals import demand, principal
from tests.unit.serving.pipeline.pipeline_bench import PipelineBench


@dataclass(frozen=True)
class Suite:
    """A conformance suite that runs over a member because it is there."""

    heading: str
    group: str
    name: str
    path: str


SUITES = [
    Suite("Routing policy", "penstock.routing.policies", "fill_first", "tests/unit/serving/routing/test_policies.py"),
    Suite("Transport", "penstock.transport", "counted", "tests/contract/compute/transport"),
    Suite("Blobs", "penstock.blobs", "mounted", "tests/contract/storage/blobs"),
    Suite("Shared state", "penstock.state", "kept", "tests/contract/storage/state"),
    Suite("Broker", "penstock.streams.brokers", "demo", "tests/contract/processes/streams"),
]
OTHERS = {
    "Engine", "Store", "Task kind", "Task", "Request stage", "Admission guard", "Setting", "Command", "API resource", "Metric", "Migration"
}  # fmt: skip
"""Examples that a test below runs."""


def test_every_example_is_run_by_a_test() -> None:
    assert set(EXAMPLES) == {suite.heading for suite in SUITES} | OTHERS


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_member_passes_the_conformance_suite_of_its_family(suite: Suite, tmp_path: Path) -> None:
    write(tmp_path, suite.heading, suite.group, suite.name)
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "src"), str(ROOT)])
    command = [sys.executable, "-m", "pytest", suite.path, "-k", suite.name, "-q", "-p", "no:cacheprovider", "--no-header"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
async def echo_worker(tmp_path: Path) -> AsyncIterator[Worker]:
    with imported(tmp_path, "Engine", "penstock.engines", "echo"), _fresh_families():
        async with serving(tmp_path / "worker", "echo", {"model": "parrot"}) as worker:
            yield worker


async def test_engine_answers_behind_a_worker_whole_and_streamed(echo_worker: Worker) -> None:
    headers = {"authorization": f"Bearer {echo_worker.secret}"}
    body: dict[str, Any] = {"model": "parrot", "messages": [{"role": "user", "content": "one two"}]}
    async with httpx.AsyncClient(base_url=echo_worker.base_url, headers=headers, timeout=10, trust_env=False) as http:
        assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == ["parrot"]
        answer = (await http.post("/v1/chat/completions", json=body)).json()
        stream = chunks((await http.post("/v1/chat/completions", json={**body, "stream": True})).text)
        refused = await http.post("/v1/embeddings", json={"model": "parrot", "input": "one"})
    assert answer["choices"][0]["message"]["content"] == "one two "
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 2)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream if chunk["choices"]) == "one two "
    assert refused.status_code == 400


async def test_store_opens_by_the_scheme_of_its_url(tmp_path: Path) -> None:
    with imported(tmp_path, "Store", "penstock.stores", "audited"), _fresh_families():
        store = await open_store(f"audited:///{tmp_path}/penstock.db", migrate=True)
        await store.catalog.save_model(ModelRecord("llama", Price()))
        assert [model.id for model in await store.catalog.models()] == ["llama"]
        assert type(store.catalog).__name__ == "AuditedModels"
        await store.close()
    assert (tmp_path / "penstock.db").stat().st_size > 0


def _lease(payload: str) -> Lease:
    return Lease(
        task_id="1", lease_seq=1, org_id="org_1", key_id="", queue="medium", kind="wait", name="", priority=5, payload=payload, attempt=1,
        max_attempts=3, timeout_seconds=None, backoff_seconds=1.0, backoff_cap_seconds=60.0, has_parents=False, enqueued_at=0.0,
        started_at=0.0, traceparent="",
    )  # fmt: skip


async def test_task_kind_succeeds_and_refuses_a_wrong_payload_for_good(tmp_path: Path) -> None:
    reports: list[str] = []
    with imported(tmp_path, "Task kind", "penstock.runner.kinds", "wait") as module:
        kind = module.MEMBER(KindOptions())
        await kind.open()
        assert await kind.run(_lease('{"seconds": 0}'), reports.append) == Succeeded('{"waited": true}')
        wrong = await kind.run(_lease('{"minutes": 1}'), reports.append)
        await kind.close()
    assert isinstance(wrong, AttemptFailed)
    assert (wrong.code, wrong.final, reports) == ("bad_payload", True, ['{"waiting": true}'])


@pytest.fixture
def nothing_registered() -> Iterator[None]:
    before = dict(functions.REGISTERED)
    functions.REGISTERED.clear()
    yield
    functions.REGISTERED.clear()
    functions.REGISTERED.update(before)


@pytest.mark.usefixtures("nothing_registered")
def test_task_function_is_registered_and_runs(tmp_path: Path) -> None:
    with imported(tmp_path, "Task") as module:
        assert module.resize(3, 4) == {"pixels": 12}
        assert (functions.REGISTERED["resize"].max_attempts, functions.REGISTERED["resize"].timeout_seconds) == (5, 60)


def test_stage_refuses_the_model_given(tmp_path: Path) -> None:
    bench = PipelineBench(a=1)
    with imported(tmp_path, "Request stage") as module:
        bench.deps.stages = (module.SwitchedOff(frozenset({"m"})),)
        _, refused = bench.ask()
        bench.deps.stages = (module.SwitchedOff(frozenset({"other"})),)
        _, served = bench.ask()
    bench.sent[0].answer()
    assert (refused.status, served.status, bench.leaks()) == (403, 200, {})


def test_guard_counts_what_was_used_and_refuses_what_is_too_much(tmp_path: Path) -> None:
    with imported(tmp_path, "Admission guard") as module:
        budget = module.TokenBudget(30)
        gate = Gate(MemoryQuotas(ManualClock()), (budget,))
        gate.admit(principal(), demand(10, 10), 0.0).settle_tokens(TokenCount(10, 2))
        gate.admit(principal(), demand(8, 10), 0.0).release()
        with pytest.raises(QuotaExhausted):
            gate.admit(principal(), demand(10, 10), 0.0)
    assert budget.spent == {principal().org_id: 12}


def test_setting_is_read_and_checked(tmp_path: Path) -> None:
    with imported(tmp_path, "Setting") as module:
        settings = module.WithReports(data_dir=tmp_path, reports={"every_seconds": 60})
        assert (settings.reports.every_seconds, settings.reports.directory) == (60, None)
        with pytest.raises((ValueError, SettingsError), match="greater than 0"):
            module.WithReports(data_dir=tmp_path, reports={"every_seconds": 0})


def test_command_prints_what_the_gateway_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PROFILE", str(tmp_path / "profiles.toml"))
    with running(FakeGatewayState()) as root, imported(tmp_path, "Command") as module:
        application = module.app
        good = CliRunner().invoke(application, ["--base-url", f"{root}/v1", "--api-key", ADMIN_KEY])
        printed_json = CliRunner().invoke(application, ["--base-url", f"{root}/v1", "--api-key", ADMIN_KEY, "--json"])
        bad = CliRunner().invoke(application, ["--base-url", f"{root}/v1", "--api-key", "psk-wrong"])
    assert good.exit_code == 0, good.output
    assert "free" in good.stdout.split()
    assert "free" in {plan["name"] for plan in json.loads(printed_json.stdout)["data"]}
    assert bad.exit_code != 0


async def test_api_resource_answers_a_key_and_refuses_a_stranger(tmp_path: Path) -> None:
    async with gateway() as gate:
        with imported(tmp_path, "API resource") as module:
            gate.app.include_router(module.router)
            answer = await gate.client.get("/api/whoami", headers=gate.ours.headers("usage"))
            stranger = await gate.client.get("/api/whoami")
    assert answer.json() == {"org_id": gate.ours.org_id, "plan": "enterprise", "scopes": ["usage:read"]}
    assert stranger.status_code == 401


def test_metric_is_exposed(tmp_path: Path) -> None:
    with imported(tmp_path, "Metric") as module:
        metrics, registry = module.ReportMetrics(), CollectorRegistry()
        registry.register(metrics)
        metrics.written(1200)
        assert "penstock_reports_bytes_total 1200.0" in generate_latest(registry).decode()


def test_migration_makes_its_table(tmp_path: Path) -> None:
    engine = sa.create_engine("sqlite://")
    with imported(tmp_path, "Migration") as module, engine.connect() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            module.upgrade()
        assert {column["name"] for column in sa.inspect(connection).get_columns("report")} == {"id", "org_id", "written_at"}


def _fresh_families() -> Any:
    """Entry points are looked for once in a process: here anew, and once more afterwards."""
    return _Fresh()


class _Fresh:
    def __enter__(self) -> None:
        family._entry_points.cache_clear()

    def __exit__(self, *_exc: object) -> None:
        family._entry_points.cache_clear()
