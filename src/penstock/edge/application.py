"""The control API and everything else that is not inference: FastAPI, in layers that no route can forget."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from penstock.domain.errors import MethodNotAllowed, NotFound
from penstock.edge.api import (
    decision_routes,
    key_routes,
    model_routes,
    org_routes,
    policy_routes,
    queue_routes,
    runner_routes,
    status_routes,
    task_routes,
    token_routes,
    usage_routes,
    worker_routes,
)
from penstock.edge.inference.fastlane import operation_of
from penstock.edge.joining import runner_calls, worker_calls
from penstock.edge.joining.signed_paths import has_small_body, is_signed
from penstock.edge.layers.body_limit import BodyLimit
from penstock.edge.layers.cross_origin import CrossOrigin, Preflights
from penstock.edge.layers.doorkeeper import Doorkeeper
from penstock.edge.layers.envelope import Envelope
from penstock.edge.layers.head_requests import HeadAsGet
from penstock.edge.layers.problems import answer, as_error, printable
from penstock.edge.layers.services import ControlServices
from penstock.edge.openai import batch_routes, file_routes, response_routes
from penstock.edge.openai import fallback_routes as openai_pages
from penstock.edge.pages import document, probes
from penstock.edge.pages.docs_page import docs_routes
from penstock.edge.pages.static_files import static_routes

__all__ = ["ControlServices", "control_app", "openapi_document"]

ROUTERS = (
    status_routes.router,
    org_routes.router,
    key_routes.router,
    token_routes.router,
    model_routes.router,
    policy_routes.router,
    worker_calls.router,
    worker_routes.router,
    usage_routes.router,
    decision_routes.router,
    openai_pages.router,
    file_routes.router,
    response_routes.router,
    batch_routes.router,
    task_routes.router,
    queue_routes.router,
    runner_calls.router,
    runner_routes.router,
    probes.router,
)


def control_app(services: ControlServices) -> FastAPI:
    """The ASGI application. Layers from the outside: envelope, CORS preflights, doorkeeper, body limit, routes."""
    app = _routed(services.version, _layers(services))
    app.state.services = services
    app.router.routes.extend([*docs_routes(app), *static_routes()])
    return app


def openapi_document(version: str) -> dict[str, Any]:
    """The document that `/openapi.json` serves, without a running gateway."""
    return _routed(version, []).openapi()


def _layers(services: ControlServices) -> list[Middleware]:
    layers = [Middleware(Envelope, services=services)]
    layers.append(Middleware(HeadAsGet))
    layers.append(Middleware(Preflights, cross_origin=CrossOrigin(services.cors_origins)))
    layers.append(Middleware(Doorkeeper, services=services, is_signed=is_signed))
    size = {"max_bytes": services.max_body_bytes, "max_depth": services.max_json_depth}
    layers.append(Middleware(BodyLimit, **size, is_small=has_small_body))
    return layers


def _routed(version: str, layers: list[Middleware]) -> FastAPI:
    app = FastAPI(
        title="Penstock",
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=layers,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={HTTPException: _refuse, RequestValidationError: _refuse},
    )
    for router in ROUTERS:
        app.include_router(router)
    document.describe(app)
    return app


async def _refuse(request: Request, exception: Exception) -> Response:
    """The framework's own errors in our shapes; every other exception is the envelope's."""
    path = str(request.scope["path"])  # decoded; `request.url` has it quoted
    headers = dict(getattr(exception, "headers", None) or {})
    error = as_error(exception, path)
    if isinstance(error, NotFound | MethodNotAllowed) and (allowed := _allowed_methods(path)):
        error = MethodNotAllowed("This path does not allow that method.")
        headers["Allow"] = ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
    elif isinstance(error, NotFound | MethodNotAllowed):
        headers.pop("allow", None)
        error = NotFound(f"There is nothing at {printable(path)}.{_meant(path)}")
    return answer(error, path, request.state.request_id, headers)


def _meant(path: str) -> str:
    """The same path as it is written here, when there is something at it."""
    plain = re.sub("/{2,}", "/", path).rstrip("/")
    return f" Write {printable(plain)}." if plain != path and _allowed_methods(plain) else ""


def _allowed_methods(path: str) -> set[str]:
    """Of all routes that have this path: the framework names only the first one's, and does not know the fast lane's."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    exactly = [route for route in routes if route.path == path]  # `/api/tasks/actions`: not the id of a task
    own = {method for route in exactly or routes if _is_at(route, path) for method in route.methods or ()}
    return own | {"POST"} if operation_of(path.encode())[0] is not None else own


def _is_at(route: APIRoute, path: str) -> bool:
    """Whether a path is one of the route's. `/v1/responses/input_tokens` is not the id of a response: every id of ours has digits."""
    match = route.path_regex.match(path)
    if match is None:
        return False
    ids = (value for name, value in match.groupdict().items() if name.endswith("_id"))
    return not route.path.startswith("/v1/") or all(any(char.isdigit() for char in value) for value in ids)
