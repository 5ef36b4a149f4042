"""For orchestrators and Prometheus: is it alive, should it get traffic, what does it count."""

import hmac
from ipaddress import ip_address
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from penstock.accounts.permissions import require
from penstock.domain.principal import Scope
from penstock.edge.layers.access import Services
from penstock.edge.layers.documented_errors import problems
from penstock.edge.layers.doorkeeper import client_address
from penstock.edge.layers.services import ControlServices
from penstock.edge.layers.shapes import View
from penstock.observe.metrics import Exposition

router = APIRouter(tags=["Probes"])


def is_loopback(address: str) -> bool:
    """Also of a caller without an address, which came over a Unix socket."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return not address
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


class Alive(View):
    status: Literal["alive"] = "alive"


class Ready(View):
    status: Literal["ready", "not_ready"]
    problems: Annotated[list[str], Field(description="Why it should get no traffic.")]


class Health(View):
    status: Literal["ok", "degraded"]
    problems: list[str]


@router.get("/livez", summary="Is the process alive")
@router.head("/livez", include_in_schema=False)
async def livez() -> Alive:
    """Depends on nothing but the process: restart it when this fails."""
    return Alive()


@router.get("/readyz", summary="Should it get traffic", responses={503: {"model": Ready, "description": "Not now."}})
@router.head("/readyz", include_in_schema=False)
async def readyz(services: Services, response: Response) -> Ready:
    """Fails first when the gateway drains, and while the store is gone."""
    reasons = services.readiness.problems()
    if reasons:
        response.status_code = 503
    return Ready(status="not_ready" if reasons else "ready", problems=reasons)


@router.get("/healthz", summary="How is it")
@router.head("/healthz", include_in_schema=False)
async def healthz(services: Services) -> Health:
    """Always 200 while the process answers; the body says what is wrong."""
    reasons = services.readiness.problems() + services.readiness.shortcomings()
    return Health(status="degraded" if reasons else "ok", problems=reasons)


async def _may_scrape(request: Request, services: ControlServices) -> None:
    """Raises Unauthenticated, PermissionDenied, RateLimited."""
    address = client_address(request.scope)
    if is_loopback(address):
        return
    given, wanted = request.headers.get("authorization"), services.metrics_token
    if wanted and given is not None and hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
        return
    require(await services.authenticate(given, address), Scope.ADMIN)


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' text format",
    response_class=Response,
    responses={**problems(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text of a scrape."}},
)
async def metrics(request: Request, services: Services) -> Response:
    """Open on this machine. From elsewhere with `Authorization: Bearer` and the setting `metrics_token`, or an administrator's key."""
    await _may_scrape(request, services)
    exposition = Exposition(services.metrics, services.workers, services.uptime, services.version)
    return Response(exposition.text(), headers={"content-type": exposition.content_type})
