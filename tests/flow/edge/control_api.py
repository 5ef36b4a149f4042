"""A whole control API in one process: the real application over a real store in memory; only the fleet is simulated."""

import base64
import json
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from penstock.accounts.service import AccountService
from penstock.base.identity import NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signed_text
from penstock.domain import keys
from penstock.domain.call import Call
from penstock.domain.clock import ManualClock
from penstock.domain.errors import ModelNotFound, NotFound, UpstreamFailed
from penstock.domain.ids import RequestIds, new_id
from penstock.domain.models import ModelRecord, Price
from penstock.domain.ports import InflightRequest, Reply, Store
from penstock.domain.principal import KeyRecord, Organisation, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.domain.usage import Outcome, UsageRecord
from penstock.domain.workers import ModelOffer, WorkerLoad, WorkerRecord, WorkerState
from penstock.durable.batches.service import BatchService
from penstock.durable.files.service import FileService
from penstock.durable.responses.service import ResponseService
from penstock.durable.tasks.services import make_task_services
from penstock.edge.application import ControlServices, control_app
from penstock.edge.layers.services import LiveWorker, ServedModel
from penstock.edge.layers.sign_in import SignIn
from penstock.observe.metrics import GatewayMetrics
from penstock.serving.admission.addresses import AddressLimiter
from penstock.serving.admission.keyring import KeyRing
from penstock.storage.blobs.memory import MemoryBlobs
from penstock.storage.stores import open_store


class NoInference:
    """There is no pipeline behind this application: calls of inference tasks are tested where there is one."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> InflightRequest:
        raise AssertionError("no inference here")


SECRET_KEY = b"a secret of the installation, for tests"
PLAN = Plan("enterprise", ServiceClass.ENTERPRISE, ServiceTier.DEFAULT, tuple(ServiceTier), 1_000_000, 10**9, 1000)


class MemoryFleet:
    """Workers that answer as they are told, seen through the port."""

    def __init__(self) -> None:
        self.records: dict[str, WorkerRecord] = {}
        self.live: dict[str, LiveWorker] = {}
        self.listed: tuple[ModelOffer, ...] | None = (ModelOffer("llama", context_length=8192, capabilities=("chat",)),)
        self.probed: list[tuple[str, str]] = []
        self.waiting: dict[str, int] = {}
        self.extra: list[ServedModel] = []
        self.broken: Exception | None = None

    def snapshot(self) -> Sequence[LiveWorker]:
        if self.broken:
            raise self.broken
        return list(self.live.values())

    def models(self, org_id: str | None) -> Sequence[ServedModel]:
        if self.broken:
            raise self.broken
        served: dict[str, ServedModel] = {}
        for record in self.records.values():
            for offer in record.models if record.org_id in (None, org_id) else ():
                known = served.get(offer.id) or ServedModel(ModelRecord(offer.id, Price()), 0, offer.context_length, offer.capabilities)
                served[offer.id] = replace(known, workers=known.workers + 1)
        return [*(served[name] for name in sorted(served)), *self.extra]

    def queues(self, sees: Collection[str] = ()) -> Mapping[str, int]:
        return self.waiting

    def in_flight(self) -> int:
        return sum(worker.in_flight for worker in self.live.values())

    def worker_joined(self, record: WorkerRecord) -> None:
        self.records[record.id] = record
        state = WorkerState.DRAINING if record.draining else WorkerState.READY
        self.live[record.id] = LiveWorker(record.id, state, record.load, 0, 0)

    def worker_left(self, worker_id: str) -> None:
        self.records.pop(worker_id, None)
        self.live.pop(worker_id, None)

    def beat(self, worker_id: str, load: WorkerLoad, draining: bool) -> str:
        state = WorkerState.DRAINING if draining else WorkerState.READY
        self.live[worker_id] = replace(self.live[worker_id], load=load, state=state)
        return self.live[worker_id].error

    def is_held(self, worker_id: str) -> bool:
        return False

    async def log_tail(self, record: WorkerRecord, lines: int) -> Sequence[str]:
        raise NotFound(f"{record.name} has no log here.")

    async def probe_upstream(self, upstream: WorkerRecord) -> Sequence[ModelOffer]:
        self.probed.append((upstream.base_url, upstream.secret))
        if self.listed is None:
            raise UpstreamFailed("The server did not answer.")
        return self.listed


class NoWorkers:
    """The pipeline of a platform where nobody serves any model."""

    def run(self, principal: Principal, call: Call, reply: Reply) -> "NoWorkers":
        reply.refuse(ModelNotFound("The model does not exist or you do not have access to it.", param="model"), b"")
        return self

    def cancel(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Reasons:
    """Readiness that a test sets."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def shortcomings(self) -> list[str]:
        return []

    def problems(self) -> list[str]:
        return list(self.reasons)


@dataclass
class Organised:
    """An organisation and one key for each role."""

    org_id: str
    keys: dict[str, str] = field(default_factory=dict)

    def headers(self, role: str = "owner") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role]}"}


ROLES: dict[str, frozenset[Scope]] = {
    "inference": frozenset({Scope.INFERENCE}),
    "usage": frozenset({Scope.USAGE_READ}),
    "keys": frozenset({Scope.KEYS_WRITE}),
    "workers": frozenset({Scope.WORKERS_WRITE}),
    "owner": frozenset(Scope) - {Scope.ADMIN},
    "admin": frozenset(Scope),
}


@dataclass
class Gateway:
    """The application, what is behind it, and two organisations that must not see each other."""

    app: FastAPI
    services: ControlServices
    client: httpx.AsyncClient
    fleet: MemoryFleet
    store: Store
    clock: ManualClock
    reasons: Reasons
    ring: KeyRing
    ours: Organised
    theirs: Organised

    @property
    def admin(self) -> dict[str, str]:
        return self.ours.headers("admin")


@asynccontextmanager
async def gateway(**options: Any) -> AsyncIterator[Gateway]:
    """`options` replace fields of ControlServices."""
    clock, fleet, reasons, blobs = ManualClock(), MemoryFleet(), Reasons(), MemoryBlobs()
    store = await open_store("sqlite://", secret_key=SECRET_KEY, migrate=True)
    try:
        await store.accounts.save_plan(PLAN)
        accounts = AccountService(store.accounts, SECRET_KEY, clock)
        ring = KeyRing(store.accounts, SECRET_KEY, clock, leases=store.tasks)
        limiter = options.setdefault("limiter", AddressLimiter(clock, unauthenticated_per_minute=1_000_000, api_per_minute=1_000_000))
        services = ControlServices(
            store=store,
            accounts=accounts,
            inference=NoWorkers(),
            batches=BatchService(store.batches, FileService(store.files, blobs, clock), clock),
            responses=ResponseService(store.responses, store.tasks, clock),
            files=FileService(store.files, blobs, clock),
            tasks=make_task_services(store.tasks, store.accounts, NoWorkers(), SECRET_KEY, clock, Random(1), new_id, RequestIds().next),
            workers=fleet,
            authenticate=SignIn(ring, accounts, store.accounts, limiter),
            limiter=limiter,
            readiness=reasons,
            metrics=GatewayMetrics(),
            clock=clock,
            new_id=new_id,
            next_request_id=RequestIds().next,
            uptime=lambda: 1.0,
            version="0.0.test",
        )
        services = replace(services, **options)
        app = control_app(services)
        ours, theirs = await organised(store, clock, "ours"), await organised(store, clock, "theirs")
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            yield Gateway(app, services, client, fleet, store, clock, reasons, ring, ours, theirs)
    finally:
        await store.close()


async def organised(store: Store, clock: ManualClock, name: str) -> Organised:
    """An organisation with a key of each role, written past the API."""
    result = Organised(new_id("org"))
    await store.accounts.create_organisation(Organisation(result.org_id, name, PLAN.name, clock.time()))
    for role, scopes in ROLES.items():
        text = keys.new_secret(keys.API_KEY)
        digest = keys.digest(SECRET_KEY, text)
        await store.accounts.create_key(KeyRecord(new_id("key"), result.org_id, role, digest, keys.hint(text), scopes, clock.time()))
        result.keys[role] = text
    return result


def usage_record(**fields: Any) -> UsageRecord:
    """A row of the ledger with plausible numbers."""
    usual: dict[str, Any] = {
        "operation": "chat",
        "service_tier": "default",
        "service_class": "enterprise",
        "worker_id": "wrk_1",
        "outcome": Outcome.COMPLETED,
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
        "cost_micros": 12,
        "started_at": 1_700_000_000.0,
        "finished_at": 1_700_000_001.0,
        "ttft_ms": 10.0,
        "queue_ms": 0.0,
        "retries": 0,
    }
    return UsageRecord(**{"currency": "USD", **usual, **fields})


class SigningWorker:
    """A worker's identity, and calls signed with it."""

    def __init__(self, clock: ManualClock) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.clock = clock

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def body(self, **fields: Any) -> dict[str, Any]:
        return {
            "name": "gpu-1",
            "engine": "sim",
            "base_url": "http://0.0.0.0:9000",
            "models": [{"id": "sim-small", "context_length": 4096, "capabilities": ["chat"]}],
            "slots": 8,
            "public_key": self.public_key,
            "secret": "w" * 40,
            "version": "0.1",
            **fields,
        }

    def signed(self, path: str, body: Mapping[str, Any] | None, skew_seconds: float = 0.0) -> dict[str, Any]:
        """`content` and `headers` for a POST with httpx."""
        content = json.dumps(body).encode() if body is not None else b""
        timestamp = str(int(self.clock.time() + skew_seconds))
        nonce = secrets.token_urlsafe(18)
        signature = base64.b64encode(self.key.sign(signed_text("POST", path, timestamp, nonce, content))).decode()
        headers = {TIMESTAMP_HEADER: timestamp, NONCE_HEADER: nonce, SIGNATURE_HEADER: signature, "content-type": "application/json"}
        return {"content": content, "headers": headers}

    async def post(self, client: httpx.AsyncClient, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return await client.post(path, **self.signed(path, body))
