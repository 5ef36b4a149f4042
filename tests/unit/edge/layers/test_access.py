"""What a route gets for the caller that it declares: the scope it needs, and the wall between organisations."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from penstock.domain.principal import KeyActor, OrganisationActor, Plan, Principal, Scope, ServiceClass, ServiceTier
from penstock.edge.layers.access import Admin, InferenceCaller, KeyWriter, TaskCaller, TaskWriter, UsageReader, WorkerWriter
from penstock.edge.layers.envelope import Envelope
from tests.unit.edge.asgi import Exchanged, call, control_services, http_scope

PLAN = Plan("enterprise", ServiceClass.ENTERPRISE, ServiceTier.DEFAULT, tuple(ServiceTier), 60, 1000, 10)
NEEDS: dict[str, tuple[Any, frozenset[Scope]]] = {
    "/inference": (InferenceCaller, frozenset({Scope.INFERENCE})),
    "/admin": (Admin, frozenset()),
    "/keys": (KeyWriter, frozenset({Scope.KEYS_WRITE})),
    "/usage": (UsageReader, frozenset({Scope.USAGE_READ})),
    "/workers": (WorkerWriter, frozenset({Scope.WORKERS_WRITE})),
    "/tasks": (TaskCaller, frozenset({Scope.TASKS_WRITE, Scope.INFERENCE})),
    "/queues": (TaskWriter, frozenset({Scope.TASKS_WRITE})),
}
"""Each kind of caller, and the scopes of which it needs one; an administrator has all."""


def principal(*scopes: Scope) -> Principal:
    return Principal("org_1", KeyActor("key_1"), PLAN, frozenset(scopes))


class WithCaller:
    """Stands for the doorkeeper."""

    def __init__(self, app: ASGIApp, caller: Principal) -> None:
        self.app = app
        self.caller = caller

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        scope["state"]["principal"] = self.caller
        await self.app(scope, receive, send)


async def ask(path: str, caller: Principal, query: str = "") -> tuple[Exchanged, list[Principal]]:
    """The answer of a route that declares this kind of caller, and whom it was given."""
    layers = [Middleware(Envelope, services=control_services()), Middleware(WithCaller, caller=caller)]
    app, given = FastAPI(middleware=layers), []

    @app.get(path)
    async def route(found: NEEDS[path][0]) -> None:  # type: ignore[valid-type]  # the annotation is the test's parameter
        given.append(found)

    return await call(app, http_scope(path=path, query_string=query.encode())), given


@pytest.mark.parametrize("path", NEEDS)
@pytest.mark.parametrize("scope", Scope)
async def test_route_is_open_to_its_scopes_and_to_administrators_alone(path: str, scope: Scope) -> None:
    answer, given = await ask(path, principal(scope))
    if scope in NEEDS[path][1] | {Scope.ADMIN}:
        assert (answer.status, given) == (200, [principal(scope)])
    else:
        assert (answer.status, answer.json["code"], given) == (403, "permission_denied", [])
        assert "needs the scope" in answer.json["detail"]


@pytest.mark.parametrize("path", NEEDS)
async def test_route_is_closed_to_a_caller_without_a_scope(path: str) -> None:
    assert (await ask(path, principal()))[0].status == 403


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/inference", Scope.INFERENCE),
        ("/admin", Scope.ADMIN),
        ("/keys", Scope.KEYS_WRITE),
        ("/usage", Scope.USAGE_READ),
        ("/workers", Scope.WORKERS_WRITE),
        ("/tasks", Scope.TASKS_WRITE),
        ("/queues", Scope.TASKS_WRITE),
    ],
)
async def test_refusal_names_the_scope_to_ask_for(path: str, scope: Scope) -> None:
    assert (await ask(path, principal()))[0].json["detail"] == f"This needs the scope '{scope}'."


@pytest.mark.parametrize("path", ["/tasks", "/queues"])
async def test_caller_who_names_a_foreign_organisation_is_told_that_there_is_none(path: str) -> None:
    answer, given = await ask(path, principal(Scope.TASKS_WRITE), "org=org_2")
    assert (answer.status, answer.json["detail"], given) == (404, "There is no such organisation.", [])


@pytest.mark.parametrize("path", ["/tasks", "/queues"])
async def test_caller_who_names_their_own_organisation_acts_as_themselves(path: str) -> None:
    caller = principal(Scope.TASKS_WRITE)
    assert (await ask(path, caller, "org=org_1"))[1] == [caller]


@pytest.mark.parametrize("path", ["/tasks", "/queues"])
async def test_administrator_who_names_an_organisation_acts_for_it_and_not_with_their_key(path: str) -> None:
    (acting,) = (await ask(path, principal(Scope.ADMIN), "org=org_2"))[1]
    assert (acting.org_id, acting.actor) == ("org_2", OrganisationActor("org_2"))
