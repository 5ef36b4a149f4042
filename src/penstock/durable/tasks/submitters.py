"""On whose behalf a task runs: its submitter as the store knows it now, not as it was at the submission."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from penstock.accounts.standing import AccountLookup, Denial, principal_of_submitter
from penstock.domain.clock import Clock
from penstock.domain.principal import Principal, stored_actor

_FRESH_SECONDS = 1.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class SubmitterRevoked:
    """No task may run on this submitter's behalf any more."""

    code: str
    message: str


_DISABLED = SubmitterRevoked("organisation_disabled", "The organisation that submitted this task is disabled.")
_REVOKED = SubmitterRevoked("key_revoked", "The API key that submitted this task has been revoked.")
DENIALS: Mapping[Denial, SubmitterRevoked] = MappingProxyType(
    {
        Denial.UNKNOWN_ORGANISATION: _DISABLED,
        Denial.DISABLED_ORGANISATION: _DISABLED,
        Denial.NO_PLAN: SubmitterRevoked("no_plan", "The organisation that submitted this task has no valid plan."),
        Denial.UNKNOWN_KEY: _REVOKED,
        Denial.FOREIGN_KEY: _REVOKED,
        Denial.REVOKED_KEY: _REVOKED,
        Denial.EXPIRED_KEY: SubmitterRevoked("key_expired", "The API key that submitted this task has expired."),
    }
)


class Submitters:
    """Looks submitters up, and believes what it found for a second: a runner asks thousands of times."""

    def __init__(self, accounts: AccountLookup, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Principal | SubmitterRevoked]] = {}

    async def principal(self, org_id: str, submitter_id: str) -> Principal | SubmitterRevoked:
        """`submitter_id`: the stored form of its actor (`stored_id`). Raises PortUnavailable."""
        now = self._clock.monotonic()
        found = self._known.get((org_id, submitter_id))
        if found is not None and found[0] > now:
            return found[1]
        fresh = await self._look_up(org_id, submitter_id)
        if found is not None and found[1] == fresh:
            fresh = found[1]  # the same object: the limits are found faster
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[org_id, submitter_id] = (now + _FRESH_SECONDS, fresh)
        return fresh

    async def _look_up(self, org_id: str, submitter_id: str) -> Principal | SubmitterRevoked:
        actor = stored_actor(org_id, submitter_id)
        found = await principal_of_submitter(self._accounts, org_id, actor, self._clock.time())
        return found if isinstance(found, Principal) else DENIALS[found]
