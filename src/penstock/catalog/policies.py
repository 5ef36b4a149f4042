"""Versions of the policy: the one in force, edits, and roll-backs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from penstock.catalog.policy_changes import Change, changes
from penstock.domain.clock import Clock
from penstock.domain.errors import NotFound, PreconditionFailed
from penstock.domain.policy import Policy, PolicyVersion
from penstock.domain.ports import PolicyStore
from penstock.domain.principal import Plan


class Plans(Protocol):
    """The part of the port `AccountStore` that knows the plans."""

    async def plans(self) -> list[Plan]: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit came to, or would come to."""

    version: PolicyVersion
    changes: tuple[Change, ...]


async def in_force(policies: PolicyStore, accounts: Plans) -> PolicyVersion:
    """The newest version; 0, the defaults, when no one has edited it. Its plans are those of the accounts."""
    found = await policies.get() or PolicyVersion(0, Policy())
    return replace(found, policy=replace(found.policy, plans=tuple(await accounts.plans())))


class Policies:
    """Every method may raise PortUnavailable."""

    def __init__(self, policies: PolicyStore, accounts: Plans, clock: Clock) -> None:
        self._policies = policies
        self._accounts = accounts
        self._time = clock.time

    async def current(self) -> PolicyVersion:
        return await in_force(self._policies, self._accounts)

    async def version(self, number: int) -> PolicyVersion:
        """Raises NotFound."""
        newest = await self.current()
        if number == newest.version:
            return newest
        found = PolicyVersion(0, replace(Policy(), plans=newest.policy.plans)) if number == 0 else await self._policies.get(number)
        if found is None:
            raise NotFound("There is no such version of the policy.")
        return found

    async def versions(self, limit: int, before: int | None) -> list[PolicyVersion]:
        return await self._policies.page(limit, before)

    async def edit(
        self, make: Callable[[Policy], Policy], author: str, comment: str = "", expected: int | None = None, *, dry_run: bool = False
    ) -> Edit:
        """`make` gets the policy in force. Raises PreconditionFailed when `expected` is not its version, Conflict.

        An edit that changes nothing makes no version.
        """
        old = await self.current()
        if expected not in (None, old.version):
            raise PreconditionFailed(f"The policy is at version {old.version}, not {expected}: look at it again.")
        policy = make(old.policy)
        different = tuple(changes(old.policy, policy))
        new = PolicyVersion(old.version + 1, policy, author, comment, self._time())
        if dry_run:
            return Edit(new, different)
        if not different and old.version:
            return Edit(old, ())
        if not await self._policies.save(new):
            raise PreconditionFailed("Another request changed the policy at the same time. Read it again and retry.")
        return Edit(new, different)

    async def roll_back(self, number: int, author: str, comment: str = "", expected: int | None = None, *, dry_run: bool = False) -> Edit:
        """A new version with the contents of an older one. Raises NotFound, PreconditionFailed, Conflict."""
        wanted = await self.version(number)
        return await self.edit(lambda _: wanted.policy, author, comment or f"back to version {number}", expected, dry_run=dry_run)
