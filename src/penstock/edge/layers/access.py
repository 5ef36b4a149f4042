"""Who may do what: the caller, the scope that a route needs, and the wall between organisations."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request

from penstock.domain.errors import NotFound, PermissionDenied
from penstock.domain.principal import Principal, Scope
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import OrgFilter


async def _services(request: Request) -> ControlServices:
    services: ControlServices = request.app.state.services
    return services


async def _caller(request: Request) -> Principal:
    principal: Principal = request.state.principal  # the doorkeeper let nobody in without one
    return principal


Services = Annotated[ControlServices, Depends(_services)]
Caller = Annotated[Principal, Depends(_caller)]


def _needs(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(caller: Caller) -> Principal:
        if not caller.may(scope):
            raise PermissionDenied(f"This needs the scope '{scope}'.")
        return caller

    return check


async def _submitter(caller: Caller, org: OrgFilter = None) -> Principal:
    """Whoever may submit a task of some kind; which kinds is the service's to say."""
    if not (caller.may(Scope.TASKS_WRITE) or caller.may(Scope.INFERENCE)):
        raise PermissionDenied(f"This needs the scope '{Scope.TASKS_WRITE}'.")
    return _inside(caller, org)


async def _task_writer(caller: Caller, org: OrgFilter = None) -> Principal:
    if not caller.may(Scope.TASKS_WRITE):
        raise PermissionDenied(f"This needs the scope '{Scope.TASKS_WRITE}'.")
    return _inside(caller, org)


def _inside(caller: Principal, org_id: str | None) -> Principal:
    """Tasks are looked at one organisation at a time: the caller's own, or the one that an administrator names."""
    found = scope_org(caller, org_id)
    return caller if found is None or found == caller.org_id else replace(caller, org_id=found, key_id="")


TaskCaller = Annotated[Principal, Depends(_submitter)]
TaskWriter = Annotated[Principal, Depends(_task_writer)]
InferenceCaller = Annotated[Principal, Depends(_needs(Scope.INFERENCE))]
Admin = Annotated[Principal, Depends(_needs(Scope.ADMIN))]
KeyWriter = Annotated[Principal, Depends(_needs(Scope.KEYS_WRITE))]
UsageReader = Annotated[Principal, Depends(_needs(Scope.USAGE_READ))]
WorkerWriter = Annotated[Principal, Depends(_needs(Scope.WORKERS_WRITE))]


def scope_org(caller: Principal, asked: str | None = None) -> str | None:
    """The organisation that a query is limited to. None (every one) only for an admin who names none; a foreign one is not found."""
    if caller.may(Scope.ADMIN):
        return asked
    if asked is not None and asked != caller.org_id:
        raise nothing("organisation")
    return caller.org_id


def owns(caller: Principal, org_id: str | None) -> bool:
    """Whether the caller may see what belongs to `org_id`; None is the platform's own."""
    return caller.may(Scope.ADMIN) or org_id == caller.org_id


def nothing(kind: str) -> NotFound:
    """The one answer for what does not exist and for what belongs to somebody else."""
    return NotFound(f"There is no such {kind}.")
