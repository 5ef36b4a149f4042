"""`penstock runner`, and the runner inside `penstock up`: settings in, a running runner out."""

import asyncio
import os
import socket
from collections.abc import Sequence
from random import Random

import structlog

from penstock import __version__
from penstock.app import process
from penstock.app.gateway.tasks import task_services
from penstock.app.settings import RunnerSettings, Settings
from penstock.base import identity
from penstock.base.task_connection import TaskConnection
from penstock.domain.call import Call
from penstock.domain.clock import SystemClock
from penstock.domain.durable.leases import Lease
from penstock.domain.errors import PenstockError
from penstock.domain.ids import RequestIds, new_id
from penstock.domain.ports import InflightRequest, Reply, StoreProblem
from penstock.domain.principal import Principal
from penstock.domain.task_keys import claims_of
from penstock.durable.tasks.inference import CallResponse, SubmitterCalls
from penstock.durable.tasks.services import TaskServices
from penstock.net.join_client import JoinRefused
from penstock.net.trust import Trust, TrustProblem
from penstock.observe import logs
from penstock.processes.runner.child_process import CannotImport, ChildOptions
from penstock.processes.runner.link import DirectLink, Link
from penstock.processes.runner.remote import RemoteLink
from penstock.processes.runner.runner import Runner
from penstock.processes.runner.slots import SlotPlan
from penstock.processes.runner.task_kind import KINDS, InferenceClient, KindOptions, TaskKind
from penstock.storage.stores import make_store

log = structlog.get_logger("penstock.runner")
_FUNCTION = "function"
_USAGE = 2
_PATIENCE_SECONDS = 5.0


class DirectInferenceClient:
    """Implements `runner.task_kind.InferenceClient` through the pipeline of this process."""

    def __init__(self, submitter_calls: SubmitterCalls) -> None:
        self._submitter_calls = submitter_calls

    async def call(self, lease: Lease, url: str, body: bytes, *, own_class: bool) -> CallResponse:
        return await self._submitter_calls.call(lease.org_id, lease.key_id, url, body, own_class=own_class)


class OwnRunner:
    """The runner inside `penstock up`. `open`, `start`, `stop`, `close`."""

    def __init__(self, settings: Settings, tasks: TaskServices, base_url: str = "", trust: Trust = Trust()) -> None:
        """`base_url` and `trust`: of the gateway, for calls of functions; empty: they make none."""
        runner_id = new_id("run")

        def connection(lease: Lease) -> TaskConnection:
            return TaskConnection(base_url, tasks.task_keys.issue(claims_of(lease, runner_id)), *trust.files)

        link = DirectLink(tasks.store, tasks.lease_issuer, runner_id, connection if base_url else None)
        self._runner = make_runner(settings, link, DirectInferenceClient(tasks.submitter_calls), "up")
        self._drain_seconds = settings.runner.drain_seconds
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises CannotImport."""
        await self._runner.open()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._runner.run())

    def stop(self) -> None:
        self._runner.stop()

    async def close(self) -> None:
        self._runner.stop()
        if self._task is not None:
            try:
                async with asyncio.timeout(self._drain_seconds + _PATIENCE_SECONDS):
                    await self._task
            except TimeoutError:
                log.warning("runner_did_not_end")
            except Exception:
                log.exception("runner_failed")
        await self._runner.close()


def make_runner(settings: Settings, link: Link, inferences: InferenceClient | None, name: str) -> Runner:
    """Raises StoreProblem for queues that cannot be read."""
    wanted = settings.runner
    plans = slot_plans(wanted, functions=bool(settings.imports), others=_others(inferences))
    processes = sum(plan.slots for plan in plans if _FUNCTION in plan.kinds)
    children = ChildOptions(settings.imports, wanted.import_seconds, wanted.max_tasks_per_child, wanted.child_memory_mb)
    options = KindOptions(processes, children, wanted.log_bytes, inferences, link.task_connection, wanted.webhook_networks)
    kinds: dict[str, TaskKind] = {kind: KINDS.member(kind)(options) for plan in plans for kind in plan.kinds}
    own_name = wanted.name or name
    random = Random()
    return Runner(link, kinds, plans, own_name, __version__, SystemClock(), random, wanted.drain_seconds)


def _others(inferences: InferenceClient | None) -> tuple[str, ...]:
    """Every kind that needs no process of its own; without a gateway there are no inferences."""
    left_out = {_FUNCTION} if inferences is not None else {_FUNCTION, "inference"}
    return tuple(kind for kind in KINDS.names() if kind not in left_out)


def slot_plans(wanted: RunnerSettings, *, functions: bool, others: Sequence[str]) -> list[SlotPlan]:
    """Functions need a process each, so they have slots of their own. Raises StoreProblem."""
    plans = []
    for queues, slots in _queue_groups(wanted.queues):
        plans.append(SlotPlan(tuple(others), queues, slots or wanted.slots, min(wanted.prefetch, slots or wanted.slots)))
        if functions:
            plans.append(SlotPlan((_FUNCTION,), queues, slots or wanted.processes, wanted.prefetch))
    return plans


def _queue_groups(queues: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
    """`high=4` is a group of its own; names without a number share one. 0 slots: the ordinary number."""
    groups: list[tuple[tuple[str, ...], int]] = []
    shared = []
    for text in queues:
        name, separator, number = text.partition("=")
        if not separator:
            shared.append(name)
        elif number.isascii() and number.isdigit() and 0 < int(number[:6]) <= 10_000:
            groups.append(((name,), int(number)))
        else:
            raise StoreProblem(f"A queue is NAME or NAME=SLOTS, not {text!r}.")
    if shared or not groups:
        groups.append((tuple(shared), 0))
    return groups


def run(settings: Settings) -> int:
    """`penstock runner`: until SIGTERM; returns the process's exit code."""
    logs.configure(settings.log.level, settings.log.format)
    if bool(settings.runner.join) == bool(settings.runner.store):
        process.say("penstock: a runner needs --join URL (a gateway) or --store URL (PostgreSQL), and only one of them.")
        return _USAGE
    try:
        return process.run(lambda: _joined(settings) if settings.runner.join else _direct(settings))
    except (CannotImport, JoinRefused, TrustProblem, identity.IdentityInUse) as error:
        process.say(f"penstock: {error}")
        return 1


async def _joined(settings: Settings) -> int:
    wanted = settings.runner
    name = wanted.name or socket.gethostname()
    own = identity.load(wanted.state_dir or settings.data_dir / "runners" / name)
    try:
        link = RemoteLink(wanted.join, wanted.token.get_secret_value() or None, own, SystemClock(), Trust(wanted.ca_file))
        return await _until_stopped(make_runner(settings, link, link, name))
    finally:
        own.close()


async def _direct(settings: Settings) -> int:
    """On PostgreSQL. An SQLite file belongs to its gateway."""
    url = settings.runner.store
    if url.startswith("sqlite"):
        process.say("penstock: an SQLite store belongs to its gateway alone; join the gateway instead: penstock runner --join URL.")
        return _USAGE
    key = settings.secret_key.get_secret_value().encode() or None
    store = make_store(url, secret_key=key)
    await store.open()
    try:
        secret = key or await store.secret("api_keys", os.urandom(32))
        tasks = task_services(store, _NoPipeline(), secret, SystemClock(), RequestIds())
        link = DirectLink(store.tasks, tasks.lease_issuer, new_id("run"))
        return await _until_stopped(make_runner(settings, link, None, socket.gethostname()))
    finally:
        await store.close()


class _NoPipeline:
    """A runner on the store alone takes no inferences: its kinds do not have them."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> InflightRequest:
        raise PenstockError("there is no pipeline in this process")


async def _until_stopped(runner: Runner) -> int:
    try:
        await runner.open()
        process.on_stop(runner.stop)
        await runner.run()
        return 0
    finally:
        await runner.close()
