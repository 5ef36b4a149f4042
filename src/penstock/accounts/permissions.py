"""Who may do what for whom: scopes, and the wall between organisations.

What belongs to another organisation does not exist for a caller: NotFound, the same as for what does not exist. Only an administrator of
the platform sees every organisation and may act for one.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol, TypeVar

from penstock.domain.errors import NotFound, PermissionDenied
from penstock.domain.principal import OrganisationActor, Principal, Scope


class Owned(Protocol):
    """A record of an organisation; None: the platform's own."""

    @property
    def org_id(self) -> str | None: ...


T = TypeVar("T", bound=Owned)


def require(caller: Principal, scope: Scope, *alternatives: Scope) -> None:
    """Raises PermissionDenied, with the first scope's name, unless the caller has one of them."""
    if not (caller.may(scope) or any(caller.may(each) for each in alternatives)):
        raise PermissionDenied(f"This needs the scope '{scope}'.")


def require_submitter(caller: Principal, kinds: Collection[str]) -> None:
    """Who may make inferences may also submit them as tasks; every other kind needs the scope of its own. Raises PermissionDenied."""
    if set(kinds) == {"inference"}:
        require(caller, Scope.TASKS_WRITE, Scope.INFERENCE)
    else:
        require(caller, Scope.TASKS_WRITE)


def owns(caller: Principal, org_id: str | None) -> bool:
    """Whether the caller may see and change what belongs to `org_id`; None is the platform's own."""
    return caller.may(Scope.ADMIN) or org_id == caller.org_id


def owned(caller: Principal, record: T | None, kind: str) -> T:
    """The record, when it exists and is the caller's to see. Raises NotFound."""
    if record is None or not owns(caller, record.org_id):
        raise not_found(kind)
    return record


def org_filter(caller: Principal, asked: str | None = None) -> str | None:
    """The organisation that a query is limited to. None (every one) only for an administrator who names none.

    Raises NotFound for a foreign one.
    """
    if caller.may(Scope.ADMIN):
        return asked
    if asked is not None and asked != caller.org_id:
        raise not_found("organisation")
    return caller.org_id


def acting_for(caller: Principal, org_id: str | None) -> Principal:
    """The caller inside one organisation: their own, or the one that an administrator names. Raises NotFound for a foreign one."""
    chosen = org_filter(caller, org_id)
    if chosen is None or chosen == caller.org_id:
        return caller
    return replace(caller, org_id=chosen, actor=OrganisationActor(chosen))


def not_found(kind: str) -> NotFound:
    """The one answer for what does not exist and for what belongs to another organisation."""
    return NotFound(f"There is no such {kind}.")
