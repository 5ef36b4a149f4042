"""Example records that the tests of the store write: organisations, plans, keys, workers and usage."""

from penstock.domain.inference import Operation
from penstock.domain.ports import Store
from penstock.domain.principal import JoinToken, KeyRecord, Organisation, Plan, Scope, ServiceClass, ServiceTier, User
from penstock.domain.usage import Outcome, UsageRecord
from penstock.domain.workers import ModelOffer, WorkerKind, WorkerLoad, WorkerRecord

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC, a whole hour
HOUR = 3600.0
BIG = 2**53 + 1  # what a float would round


def organisation(org_id: str = "org_a", *, created_at: float = 1.5) -> Organisation:
    return Organisation(org_id, f"Büro {org_id} 水🚰", "free", created_at)


def plan(name: str = "free") -> Plan:
    return Plan(name, ServiceClass.FREE, ServiceTier.DEFAULT, (ServiceTier.DEFAULT, ServiceTier.FLEX), 60, BIG, 4, spill=True)


def user(user_id: str = "usr_a", org_id: str = "org_a", email: str = "Ada@Example.org") -> User:
    return User(user_id, org_id, email, "$argon2id$...", admin=True, created_at=2.5)


def key(key_id: str = "key_a", org_id: str = "org_a", *, digest: bytes | None = None, created_at: float = 3.5) -> KeyRecord:
    return KeyRecord(
        id=key_id,
        org_id=org_id,
        name="schlüssel 钥匙",
        digest=digest or key_id.encode().ljust(32, b"\0"),
        hint="psk-abcd",
        scopes=frozenset({Scope.INFERENCE, Scope.ADMIN}),
        created_at=created_at,
        expires_at=1e12,
        allowed_networks=("10.0.0.0/8", "2001:db8::/32"),
        requests_per_minute=10,
        tokens_per_minute=BIG,
        concurrency=3,
    )


def join_token(token_id: str = "jtk_a", org_id: str | None = None, *, created_at: float = 4.5) -> JoinToken:
    return JoinToken(token_id, "worker", token_id.encode().ljust(32, b"\xff"), "pjt-abcd", org_id, created_at, 1e12)


def worker(worker_id: str = "wrk_a", *, public_key: bytes = b"\x01" * 32, joined_at: float = 5.5) -> WorkerRecord:
    return WorkerRecord(
        id=worker_id,
        name="gpu-ü",
        kind=WorkerKind.WORKER,
        engine="sim",
        base_url="http://127.0.0.1:9",
        models=(ModelOffer("org/model:1", "m", 131_072, ("chat", "tools")), ModelOffer("plain")),
        slots=8,
        pool="priority",
        org_id=None,
        secret="s3cret-" + "x" * 40,
        public_key=public_key,
        version="0.1",
        joined_at=joined_at,
        last_seen_at=6.5,
        load=WorkerLoad(1, 2, 0.25, 0.125),
    )


def record(request_id: str, **changes: object) -> UsageRecord:
    values: dict[str, object] = {
        "request_id": request_id,
        "org_id": "org_a",
        "key_id": "key_a",
        "model": "sim-small",
        "operation": Operation.CHAT.value,
        "service_tier": "default",
        "service_class": "free",
        "worker_id": "wrk_a",
        "outcome": Outcome.COMPLETED,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 3,
        "reasoning_tokens": 2,
        "estimated": False,
        "cost_micros": 7,
        "started_at": NOON,
        "finished_at": NOON + 1,
        "ttft_ms": 12.5,
        "queue_ms": 0.25,
        "retries": 1,
        "status": 200,
        "client_request_id": "mine-1",
        "currency": "USD",
    }
    return UsageRecord(**(values | changes))  # type: ignore[arg-type] # the tests name the fields


async def two_organisations(store: Store) -> None:
    await store.accounts.save_plan(plan())
    await store.accounts.create_organisation(organisation("org_a"))
    await store.accounts.create_organisation(organisation("org_b"))
