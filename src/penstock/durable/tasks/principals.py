"""On whose behalf a task runs: its submitter as the store knows it now, not as it was at the submission."""

from dataclasses import dataclass
from typing import Protocol

from penstock.domain.clock import Clock
from penstock.domain.principal import KeyRecord, Organisation, Plan, Principal, Scope

_FRESH_SECONDS = 1.0
_MOST_KNOWN = 10_000
_USER = "usr_"


class Owners(Protocol):
    """The part of the port `Accounts` that says who somebody is. Its methods may raise PortUnavailable."""

    async def key(self, key_id: str) -> KeyRecord | None: ...
    async def organisation(self, org_id: str) -> Organisation | None: ...
    async def plans(self) -> list[Plan]: ...


@dataclass(frozen=True, slots=True)
class Disowned:
    """Nobody may work on this submitter's behalf any more."""

    code: str
    message: str


class Principals:
    """Looks submitters up, and believes what it found for a second: a runner asks thousands of times."""

    def __init__(self, owners: Owners, clock: Clock) -> None:
        self._owners = owners
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Principal | Disowned]] = {}

    async def of(self, org_id: str, key_id: str) -> Principal | Disowned:
        """Raises PortUnavailable."""
        now = self._clock.monotonic()
        found = self._known.get((org_id, key_id))
        if found is not None and found[0] > now:
            return found[1]
        fresh = await self._ask(org_id, key_id)
        if found is not None and found[1] == fresh:
            fresh = found[1]  # the same object: the limits are found faster
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[org_id, key_id] = (now + _FRESH_SECONDS, fresh)
        return fresh

    async def _ask(self, org_id: str, key_id: str) -> Principal | Disowned:
        organisation = await self._owners.organisation(org_id)
        if organisation is None or organisation.disabled:
            return Disowned("organisation_disabled", "The organisation that submitted this task is disabled.")
        plan = next((plan for plan in await self._owners.plans() if plan.name == organisation.plan), None)
        if plan is None:
            return Disowned("no_plan", "The organisation that submitted this task has no valid plan.")
        if not key_id or key_id.startswith(_USER):
            return Principal(org_id, key_id or org_id, plan, frozenset({Scope.INFERENCE}))
        key = await self._owners.key(key_id)
        if key is None or key.org_id != org_id or key.revoked_at is not None:
            return Disowned("key_revoked", "The API key that submitted this task has been revoked.")
        if key.expires_at is not None and key.expires_at <= self._clock.time():
            return Disowned("key_expired", "The API key that submitted this task has expired.")
        return Principal(org_id, key.id, plan, key.scopes, key.requests_per_minute, key.tokens_per_minute)
