"""A worker as one object: engine, HTTP side and agent, opened and closed together."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import structlog

from penstock.base import identity
from penstock.base.family import Family
from penstock.compute.worker.agent import Agent
from penstock.compute.worker.faults import Faults
from penstock.compute.worker.presence import Presence
from penstock.compute.worker.serve import WorkerApp
from penstock.compute.worker.slots import WorkerSlots
from penstock.domain.clock import SystemClock
from penstock.domain.ports.engine import Engine, EngineFactory, KeepsLog
from penstock.domain.workers import WorkerLoad
from penstock.net.asgi_server import AsgiServer
from penstock.net.join_client import JoinClient
from penstock.net.trust import Trust
from penstock.wire.joining.workers import Join

DRAIN_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 600
"""Longer than any gateway keeps an idle connection, so that it is never the worker that closes one in use."""

_log = structlog.get_logger()
_ENGINES: Family[EngineFactory] = Family("penstock.compute.engines")  # by its name: rooms of compute do not import each other


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is told at its start."""

    state_dir: Path
    engine: str = "sim"
    engine_options: Mapping[str, str] = field(default_factory=dict)
    join: str = ""
    """The gateway's address; empty: none, the worker just serves."""
    token: str | None = field(default=None, repr=False)
    trust: Trust = Trust()
    """Which certificate the gateway may present."""
    name: str = ""
    """Empty: the machine's name."""
    host: str = "127.0.0.1"
    port: int = 0
    advertise: str = ""
    """The URL under which gateways reach this worker; empty: from host and port."""
    slots: int = 0
    """0: the engine's own number."""
    queue_limit: int = 16
    """Requests that may wait here for a slot: enough for what gateways send before they hear that it is full."""
    pool: str | None = None
    allow_faults: bool = False
    version: str = ""


class Worker:
    """Use as: open, `agent_task` to wait for a refusal, drain, close."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._server: AsgiServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._agent: Agent | None = None
        self.agent_task: asyncio.Task[None] | None = None
        self.engine: Engine | None = None
        self.base_url = ""
        self.secret = ""
        self.presence = Presence(self._load)
        self._app: WorkerApp | None = None
        self.slots: WorkerSlots | None = None
        self._identity: identity.Identity | None = None

    async def open(self) -> None:
        """Serve, then join. Raises IdentityInUse, UnknownMember, the engine's own start-up errors, OSError for a port in use."""
        try:
            await self._open(self._plan)
        except BaseException:
            await self.close()
            raise

    async def _open(self, plan: WorkerPlan) -> None:
        self._identity = identity.load(plan.state_dir)
        self.secret = self._identity.secret
        self.engine = _ENGINES.member(plan.engine)(plan.engine_options)
        if isinstance(self.engine, KeepsLog):
            self.engine.keep_log(plan.state_dir)
        await self.engine.open()
        slots = self.slots = WorkerSlots(plan.slots or self.engine.slots, plan.queue_limit)
        self._app = WorkerApp(self.engine, self.secret, slots, self.presence, Faults() if plan.allow_faults else None)
        await self._listen(self._app)
        _log.info("serving", engine=plan.engine, base_url=self.base_url, slots=slots.limit)
        if plan.join:
            await self._start_agent(plan, slots.limit)

    async def drain(self) -> None:
        """Say that this worker stops, let what runs finish (30 s at most), leave."""
        self.presence.change(stopping=True)
        await self._announce_drain()
        self.presence.change(refusing=True)
        if self.slots is not None:
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self.slots.until_idle()
            except TimeoutError:
                _log.warning("drain_timed_out", running=self.slots.running)
        await self._stop_agent()
        if self._agent is not None:
            await self._agent.leave()

    async def _announce_drain(self) -> None:
        """Until it knows, it may still send requests, which are served."""
        if self._agent is None or not self.presence.worker_id:
            return
        try:
            await self._agent.send_heartbeat()
        except httpx.HTTPError as error:
            _log.info("drain_not_reported", reason=str(error))

    async def close(self) -> None:
        """End what is left."""
        await self._stop_agent()
        if self._agent is not None:
            await self._agent.close()
        self.presence.change(closed=True)
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self.engine is not None:
            await self.engine.close()
        if self._identity is not None:
            self._identity.close()

    def _load(self) -> WorkerLoad:
        return self._app.load() if self._app is not None else WorkerLoad()

    async def _listen(self, app: WorkerApp) -> None:
        plan = self._plan
        listener = socket.create_server((plan.host, plan.port), family=_address_family(plan.host), backlog=2048)
        port = listener.getsockname()[1]
        host = f"[{plan.host}]" if ":" in plan.host else plan.host
        self.base_url = plan.advertise.rstrip("/") or f"http://{host}:{port}"
        listening = asyncio.Event()
        self._server = AsgiServer(
            app, listening.set, http="httptools", date_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=1
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await listening.wait()

    async def _start_agent(self, plan: WorkerPlan, slots: int) -> None:
        assert self.engine is not None
        assert self._identity is not None
        client = JoinClient(plan.join, self._identity, SystemClock(), plan.trust)
        join = Join.of(
            token=plan.token,
            name=plan.name or socket.gethostname(),
            engine=plan.engine,
            base_url=self.base_url,
            models=await self.engine.models(),
            slots=slots,
            pool=plan.pool,
            public_key=client.public_key,
            secret=self._identity.secret,
            version=plan.version,
            host=socket.gethostname(),
        )
        self._agent = Agent(client, join, self.presence, self.engine.models)
        await self._agent.open()
        self.agent_task = asyncio.create_task(self._agent.run())

    async def _stop_agent(self) -> None:
        if self.agent_task is not None and not self.agent_task.done():
            self.agent_task.cancel()
            await asyncio.wait([self.agent_task])


def _address_family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
