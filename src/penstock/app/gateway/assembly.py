"""`penstock gateway`: the gateway with its control API, assembled from settings; `up` runs the same with workers beside it."""

import asyncio
import gc
import os
import random
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from penstock import __version__
from penstock.accounts.bootstrap import FirstStart, first_start
from penstock.accounts.service import AccountService
from penstock.app import process
from penstock.app.gateway import decisions
from penstock.app.gateway.changes import ChangePoll
from penstock.app.gateway.chores import Chore, Chores, forget_workers
from penstock.app.gateway.objects import StoredObjects
from penstock.app.gateway.rules import address_limiter, connection_counts, connection_limits, pipeline_options
from penstock.app.gateway.server import GatewayServer, bind, check_certificate
from penstock.app.gateway.tasks import start_sweeping, task_services
from penstock.app.gateway.upstreams import Discovery, configured
from penstock.app.gateway.views import GatewayReadiness, LiveWorkers, PlanLimits
from penstock.app.gateway.worker_watch import WorkerWatch
from penstock.app.offline import place
from penstock.app.settings import Settings
from penstock.base import family
from penstock.catalog.models import Catalogue
from penstock.catalog.policies import in_force
from penstock.compute.transport.http import HttpTransport
from penstock.domain.clock import SystemClock
from penstock.domain.ids import RequestIds, new_id
from penstock.domain.ports import SchemaOutdated, Store
from penstock.domain.usage import UsageRecord
from penstock.domain.workers import WorkerRecord, WorkerState
from penstock.edge.application import ControlServices, control_app
from penstock.edge.inference.fastlane import FastLane
from penstock.edge.inference.proxied_connection import connection_class, sweep
from penstock.edge.layers.cross_origin import CrossOrigin
from penstock.edge.layers.proxies import TrustedProxies
from penstock.edge.layers.sign_in import SignIn
from penstock.net.outbox import Outbox
from penstock.net.reach import Reach
from penstock.observe import logs
from penstock.observe.metrics import GatewayMetrics, MetricsObserver
from penstock.serving.admission.keyring import KEY_PARTS, KeyRing
from penstock.serving.explain.view import RingView
from penstock.serving.pipeline import Surroundings, assemble
from penstock.serving.pipeline.policy import apply
from penstock.serving.routing.worker_set import WorkerEvent
from penstock.serving.usage.pricing import repriced
from penstock.storage.journal.journal import Journal
from penstock.storage.state import memory
from penstock.storage.stores import make_store

log = structlog.get_logger("penstock.gateway")
_SECRET_BYTES = 32
_FORGET_EVERY_SECONDS = 300.0
_SETTLED_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class OpenStore:
    """An open store and what was read from it before anything else could be made."""

    store: Store
    secret_key: bytes
    first: FirstStart | None
    """The secrets that the very first start made; to be shown once."""
    models: Catalogue


async def open_gateway(settings: Settings, *, migrate: bool, store: Store | None = None) -> "Gateway":
    """Bind the port, open the store and everything on top of it. `store`: instead of the one that the settings name.

    Raises OSError when the port is taken, SettingsError, StoreProblem, PortUnavailable; then nothing is left open.
    """
    check_certificate(settings.tls_cert, settings.tls_key)
    async with AsyncExitStack() as undo:
        listener = undo.enter_context(bind(settings.host, settings.port))
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = store or store_of(settings)
        undo.push_async_callback(store.close)
        opened = await _open_store(settings, store, migrate=migrate)
        gateway = Gateway(settings, opened, listener)
        undo.pop_all()  # the gateway closes them from here on
        undo.push_async_callback(gateway.close)
        await gateway.start()
        undo.pop_all()
    return gateway


def store_of(settings: Settings) -> Store:
    """The store that the settings name, not yet open. Raises StoreProblem."""
    return make_store(settings.store_url, secret_key=settings.secret_key.get_secret_value().encode() or None)


async def _open_store(settings: Settings, store: Store, *, migrate: bool) -> OpenStore:
    try:
        await store.open(migrate=migrate)
    except SchemaOutdated as error:
        flags = place.flags(settings)
        raise SchemaOutdated(f"{error} Name this store to it:{flags}." if flags else str(error)) from error
    key = settings.secret_key.get_secret_value().encode() or await store.secret("api_keys", os.urandom(_SECRET_BYTES))
    first = await first_start(store.accounts, key, SystemClock())
    return OpenStore(store, key, first, Catalogue(await store.catalog.models()))


def _transport(settings: Settings, outbox: Outbox, tenant_reach: Reach) -> HttpTransport:
    return HttpTransport(
        settings.upstream.connect_seconds,
        settings.upstream.first_byte_seconds,
        settings.upstream.between_chunks_seconds,
        settings.upstream.connections_per_worker,
        outbox,
        tenant_reach,
    )


class Gateway:
    """One gateway process, made by `open_gateway`: `serve` until `stop`, then `close`."""

    def __init__(self, settings: Settings, opened: OpenStore, listener: socket.socket) -> None:
        self.settings = settings
        self.store, self.secret_key, self.first = opened.store, opened.secret_key, opened.first
        self.clock = clock = SystemClock()
        self._started = clock.monotonic()
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.metrics = GatewayMetrics()
        grace_seconds = settings.admission.store_grace_seconds
        self.keys = KeyRing(self.store.accounts, self.secret_key, clock, grace_seconds=grace_seconds, leases=self.store.tasks)
        self.addresses = address_limiter(settings, clock)
        self.accounts = AccountService(self.store.accounts, self.secret_key, clock)
        self.journal = Journal(settings.data_dir / "journal", self.store.ledger, settings.usage.journal_slots, settings.usage.flush_seconds)
        self.metrics.journal = self.journal.status
        timeouts, outbox = settings.upstream, Outbox()
        self.reach = Reach(settings.routing.worker_networks)
        self.transport = _transport(settings, outbox, self.reach)
        around = Surroundings(
            transport=self.transport,
            journal=self.journal,
            observer=MetricsObserver(self.metrics),
            quotas=memory.MEMBER(clock),
            clock=clock,
            random=random.Random(),
            chance=random.random,
        )
        self.pipeline, self.deps = assemble(around, pipeline_options(settings), opened.models)
        self.workers = self.deps.workers
        self.workers.on_event = self._worker_event
        self.metrics.queue_status = self.pipeline.queue_status
        self.metrics.shadows = self.workers.shadows
        self.metrics.is_public = self.workers.is_public
        self.watch = WorkerWatch(self.workers, self.transport, timeouts.connect_seconds, timeouts.probe_seconds)
        self.changes = ChangePoll(self.store.changes, clock, settings.admission.change_poll_seconds, self.keys.confirm)
        self._subscribe()
        self.objects = StoredObjects(settings, self.store, clock, lambda: self.deps.catalogue)
        self.lane = FastLane(
            self.pipeline,
            self.keys,
            self.addresses,
            RequestIds(),
            clock,
            settings.http.max_body_bytes,
            outbox=outbox,
            cross_origin=CrossOrigin(settings.cors_origins),
            proxies=TrustedProxies(settings.http.trusted_proxies, settings.http.client_address_from),
            connections=connection_counts(settings, clock),
            root_path=settings.http.root_path.encode("ascii"),
        )
        self.task_services = task_services(self.store, self.pipeline, self.secret_key, clock, self.lane.ids)
        self._server: GatewayServer | None = None
        self._event_listeners: list[Callable[[WorkerEvent], None]] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._own = configured(settings.upstreams)
        self.held = settings.held
        self._loaded = False
        ports = set(settings.discover_ports) - {settings.port, self.port} if settings.discover else ()
        self._discovery = Discovery(ports, self._discovered)
        self._chores = Chores()

    async def start(self) -> None:
        """Begin everything that happens beside the requests. Raises PortUnavailable, OSError."""
        cut = self.journal.open(self._reprice)  # what a crash left is billed at the prices of now
        if cut:
            log.warning("recovered_streams", count=cut)
        self.transport.open()
        self.watch.open()
        for record in self._own:
            self.watch.put(record)
        await self.changes.open()
        self.pipeline.open()
        self.journal.start()
        await self.objects.open()
        self.objects.start(self._chores, held=self.held)
        if self.held:
            log.warning("held", reason="restored from a backup, or the setting hold", stored_workers=len(self.watch.held))
        else:
            start_sweeping(self.task_services.sweeper, self._chores)
        decisions.start(self.settings, self.deps.decisions, self.store.decisions, self.clock.time, self._chores)
        self._chores.start(Chore("forget workers", _FORGET_EVERY_SECONDS, self._forget_workers))
        await self._discovery.open()

    def _discovered(self, record: WorkerRecord) -> None:
        self._own.append(record)
        self.watch.put(record)

    def _control_app(self) -> object:
        services = ControlServices(
            store=self.store,
            accounts=self.accounts,
            inference=self.pipeline,
            files=self.objects.files,
            batches=self.objects.batches,
            responses=self.objects.responses,
            tasks=self.task_services,
            workers=LiveWorkers(self.deps, self.pipeline, self.watch, self.clock),
            authenticate=SignIn(self.keys, self.accounts, self.store.accounts, self.addresses),
            limiter=self.addresses,
            readiness=GatewayReadiness(self.changes, self.pipeline, self.journal, self.deps, held=self.held),
            metrics=self.metrics,
            tenant_reach=self.reach,
            metrics_token=self.settings.metrics_token.get_secret_value(),
            decisions=RingView(self.deps.decisions),
            clock=self.clock,
            new_id=new_id,
            next_request_id=self.lane.ids.next,
            uptime=lambda: self.clock.monotonic() - self._started,
            version=__version__,
            cors_origins=self.settings.cors_origins,
            entrance=PlanLimits(self.deps.gate, self.clock),
            max_body_bytes=self.settings.http.max_body_bytes,
            max_json_depth=self.settings.http.max_json_depth,
            log_calls=not logs.on_terminal(self.settings.log.format),
            slow_request_seconds=self.settings.log.slow_request_seconds,
        )
        return control_app(services)

    # edits

    def _subscribe(self) -> None:
        for kind in KEY_PARTS:
            self.changes.subscribe(kind, partial(self._forget_keys, kind))
        self.changes.subscribe("policy", self._reload_policy)
        self.changes.subscribe("model", self._reload_models)
        self.changes.subscribe("worker", self._reload_workers)

    async def _forget_keys(self, kind: str, ids: frozenset[str]) -> None:
        self.keys.forget([(kind, subject) for subject in ids])
        if kind == "organisation":
            await self._reload_organisations()

    async def _reload_organisations(self) -> None:
        organisations = await self.store.accounts.organisations()
        own_first = frozenset(each.id for each in organisations if each.own_models_first)
        if own_first != self.workers.own_first:
            self.workers.prefer_own(own_first)

    async def _reload_models(self, _: frozenset[str]) -> None:
        self.deps.adopt(Catalogue(await self.store.catalog.models()))

    async def _reload_workers(self, _: frozenset[str]) -> None:
        records = await self.store.workers.all()
        if self.held and not self._loaded:
            self.watch.held.update(record.id for record in records)
        self._loaded = True
        self.watch.replace_all(records, frozenset(record.id for record in self._own))

    async def _reload_policy(self, _: frozenset[str]) -> None:
        found = await in_force(self.store.policies, self.store.accounts)
        try:
            apply(found.policy, self.deps)
        except family.UnknownMember as error:
            # Another gateway has more members installed; the last policy that we could follow stays.
            log.warning("policy_not_applied", version=found.version, reason=str(error))
            return
        self.metrics.policy_version = found.version
        log.info("policy_applied", version=found.version)

    async def _forget_workers(self) -> None:
        self.pipeline.forget_unused()
        if self.clock.monotonic() - self._started < _SETTLED_SECONDS:
            return  # after a long rest of the whole platform its workers are on their way back
        alive = {member.id for member in self.workers.members() if member.state is not WorkerState.DEAD}
        await forget_workers(self.store.workers, self.clock.time() - self.settings.routing.forget_seconds, alive)

    def _reprice(self, record: UsageRecord) -> UsageRecord:
        return repriced(record, self.deps.catalogue.price(record.model))

    def on_worker_event(self, listener: Callable[[WorkerEvent], None]) -> None:
        """Tell `listener` of every change of a worker from now on, after the log."""
        self._event_listeners.append(listener)

    def _worker_event(self, event: WorkerEvent) -> None:
        if event.what == "ejected":
            self.metrics.ejections += 1
        log.info("worker_state_changed", worker=event.worker_id, name=event.name, state=event.what)
        for listener in self._event_listeners:
            listener(event)

    # life

    @property
    def base_url(self) -> str:
        """What clients dial, without `/v1`."""
        scheme = "https" if self.settings.tls_cert else "http"
        host = self.settings.host
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
        return f"{scheme}://{host}:{self.port}"

    def facts(self) -> dict[str, str]:
        """What a program or a person needs to use this gateway; at the very first start with the secrets that are shown once."""
        found = {"base_url": f"{self.base_url}/v1", "dashboard_url": f"{self.base_url}/"}
        if self.first is not None:
            found |= {"api_key": self.first.api_key, "join_token": self.first.join_token}
            found |= {"admin_email": self.first.admin_email, "admin_password": self.first.admin_password}
        return found

    async def serve(self, when_ready: Callable[[], object]) -> None:
        """Serve until `stop`, then drain."""
        settings = self.settings
        protocol = connection_class(self.lane, connection_limits(settings))
        tls = None if settings.tls_cert is None or settings.tls_key is None else (settings.tls_cert, settings.tls_key)
        self._server = GatewayServer(self._control_app(), protocol, when_ready, drain_seconds=settings.http.drain_seconds, tls=tls)
        self._tick()
        # What exists now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        # A request leaves no cycles behind, so that there is little to find: look seldom.
        gc.set_threshold(20_000, 20, 50)
        await self._server.serve(sockets=[self._listener])

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(1.0, self._tick)
        connections = self._server.server_state.connections if self._server is not None else ()
        sweep(connections, self.lane, loop.time())

    @property
    def is_serving(self) -> bool:
        return self._server is not None and self._server.started

    def stop(self) -> None:
        """Begin to drain: no new connections, the waiting requests are refused, what runs may finish."""
        if self._server is None or self._server.should_exit:
            return
        log.info("draining", active=self.pipeline.active)
        self.pipeline.turn_away_waiting()
        self.task_services.lease_issuer.close()
        self._server.should_exit = True

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._discovery.close()
        await self._chores.close()
        await self.objects.close()
        await self.changes.close()
        await self.watch.close()
        self.pipeline.close()
        self.transport.close()
        await self.journal.close()
        await self.store.close()
        self._listener.close()


def run(settings: Settings, json_line: bool) -> int:
    """`penstock gateway`: until SIGTERM or SIGINT; returns the process's exit code."""
    logs.configure(settings.log.level, settings.log.format)
    return process.run(lambda: _run(settings, json_line))


async def _run(settings: Settings, json_line: bool) -> int:
    gateway = await open_gateway(settings, migrate=False)
    try:
        process.on_stop(gateway.stop)
        await gateway.serve(lambda: _announce(gateway, json_line))
        return 0
    finally:
        await gateway.close()


def _announce(gateway: Gateway, json_line: bool) -> None:
    facts = gateway.facts()
    if gateway.first is not None and not json_line:
        process.say("\n".join(f"  {name}: {value}" for name, value in facts.items()))
    if json_line:
        process.announce(facts)
    process.say(f"Penstock gateway ready at {facts['base_url']}")
