"""What a route may ask for in its signature: the services, and the caller with the scope that the route needs."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from penstock.accounts.permissions import acting_for, require
from penstock.domain.principal import Principal, Scope
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import OrgFilter


async def _services(request: Request) -> ControlServices:
    services: ControlServices = request.app.state.services
    return services


async def _caller(request: Request) -> Principal:
    principal: Principal = request.state.principal  # the doorkeeper refuses a request without one
    return principal


Services = Annotated[ControlServices, Depends(_services)]
Caller = Annotated[Principal, Depends(_caller)]


def _needs(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(caller: Caller) -> Principal:
        require(caller, scope)
        return caller

    return check


async def _submitter(caller: Caller, org: OrgFilter = None) -> Principal:
    """A caller who may submit tasks of some kind: the service decides which kinds. An administrator may name an organisation."""
    require(caller, Scope.TASKS_WRITE, Scope.INFERENCE)
    return acting_for(caller, org)


async def _task_writer(caller: Caller, org: OrgFilter = None) -> Principal:
    require(caller, Scope.TASKS_WRITE)
    return acting_for(caller, org)


TaskCaller = Annotated[Principal, Depends(_submitter)]
TaskWriter = Annotated[Principal, Depends(_task_writer)]
InferenceCaller = Annotated[Principal, Depends(_needs(Scope.INFERENCE))]
Admin = Annotated[Principal, Depends(_needs(Scope.ADMIN))]
KeyWriter = Annotated[Principal, Depends(_needs(Scope.KEYS_WRITE))]
UsageReader = Annotated[Principal, Depends(_needs(Scope.USAGE_READ))]
WorkerWriter = Annotated[Principal, Depends(_needs(Scope.WORKERS_WRITE))]
