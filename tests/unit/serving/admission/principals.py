"""Organisations, plans and keys for the tests of admission, and a store of them in memory."""

from dataclasses import replace

from penstock.domain import keys
from penstock.domain.call import Demand
from penstock.domain.errors import PortUnavailable
from penstock.domain.inference import Operation
from penstock.domain.principal import KeyActor, KeyRecord, Organisation, Plan, Principal, Scope, ServiceClass, ServiceTier

SECRET_KEY = b"s" * 32
PLAN = Plan("premium", ServiceClass.PREMIUM, ServiceTier.DEFAULT, (ServiceTier.DEFAULT, ServiceTier.FLEX), 60, 1000, 4)


def principal(
    key_id: str = "key_1",
    org_id: str = "org_1",
    plan: Plan = PLAN,
    scopes: frozenset[Scope] = frozenset({Scope.INFERENCE}),
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrency: int | None = None,
) -> Principal:
    return Principal(org_id, KeyActor(key_id), plan, scopes, requests_per_minute, tokens_per_minute, concurrency)


def demand(prompt_tokens: int = 20, max_tokens: int = 80, service_tier: str | None = None) -> Demand:
    return Demand("req_1", Operation.CHAT, "sim-small", False, prompt_tokens, max_tokens, service_tier)


class MemoryLeases:
    """Which leases are live, for keys of tasks; counts `lookups`."""

    def __init__(self) -> None:
        self.live: set[tuple[str, str, int]] = set()
        self.lookups = 0

    async def holds(self, runner_id: str, task_id: str, lease_seq: int) -> bool:
        self.lookups += 1
        return (runner_id, task_id, lease_seq) in self.live


class MemoryAccounts:
    """The accounts behind a key ring. Counts `lookups`; `unreachable` makes it a store that cannot be reached."""

    def __init__(self) -> None:
        self.unreachable = False
        self.lookups = 0
        self._plans = {PLAN.name: PLAN}
        self._organisations = {"org_1": Organisation("org_1", "One", PLAN.name, 0.0)}
        self._keys: dict[bytes, KeyRecord] = {}

    def add_key(
        self,
        key_id: str = "key_1",
        *,
        org_id: str = "org_1",
        expires_at: float | None = None,
        allowed_networks: tuple[str, ...] = (),
        requests_per_minute: int | None = None,
    ) -> bytes:
        """A new key, as the header value that presents it."""
        text = keys.new_secret(keys.API_KEY)
        digest = keys.digest(SECRET_KEY, text)
        self._keys[digest] = KeyRecord(
            key_id,
            org_id,
            key_id,
            digest,
            keys.hint(text),
            frozenset({Scope.INFERENCE}),
            created_at=0.0,
            expires_at=expires_at,
            allowed_networks=allowed_networks,
            requests_per_minute=requests_per_minute,
        )
        return b"Bearer " + text.encode()

    def revoke(self, key_id: str) -> None:
        self._keys = {digest: replace(key, revoked_at=1.0) if key.id == key_id else key for digest, key in self._keys.items()}

    def save_organisation(self, organisation: Organisation) -> None:
        self._organisations[organisation.id] = organisation

    def save_plan(self, plan: Plan) -> None:
        self._plans[plan.name] = plan

    async def key_by_digest(self, digest: bytes) -> KeyRecord | None:
        self.lookups += 1
        if self.unreachable:
            raise PortUnavailable
        return self._keys.get(digest)

    async def key(self, key_id: str) -> KeyRecord | None:
        return next((key for key in self._keys.values() if key.id == key_id), None)

    async def organisation(self, org_id: str) -> Organisation | None:
        return self._organisations.get(org_id)

    async def plans(self) -> list[Plan]:
        return list(self._plans.values())
