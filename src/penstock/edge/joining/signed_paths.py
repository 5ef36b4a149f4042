"""Which calls are signed by workers and runners, read from their routers: the layers around the routes must know before they run."""

import re
from collections.abc import Iterable

from fastapi.routing import APIRoute

from penstock.edge.joining import runner_calls, worker_calls

_PARAMETER = re.compile(r"\\\{\w+\\\}")


def _routes() -> list[APIRoute]:
    routers = (worker_calls.router, runner_calls.router)
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def _pattern(routes: Iterable[APIRoute]) -> re.Pattern[str]:
    return re.compile("|".join(_PARAMETER.sub("[^/]+", re.escape(route.path)) for route in routes))


SIGNED_PATHS = tuple(route.path for route in _routes())
"""As the OpenAPI document has them."""
_SIGNED = _pattern(_routes())
_SMALL = _pattern(route for route in _routes() if route.endpoint not in runner_calls.LARGE_BODIES)


def is_signed(method: str, path: str) -> bool:
    """Whether the caller proves who it is by a signature, which is verified where the body is known, and not by a key."""
    return method == "POST" and _SIGNED.fullmatch(path) is not None


def has_small_body(method: str, path: str) -> bool:
    """Whether it is a signed call that brings no results: a caller who has not yet shown who it is sends little."""
    return method == "POST" and _SMALL.fullmatch(path) is not None
