"""For orchestrators and Prometheus: is it alive, should it get traffic, what does it count."""

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from penstock.edge.layers.access import Services
from penstock.edge.layers.shapes import View
from penstock.observe.metrics import Exposition

router = APIRouter(tags=["Probes"])


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
    reasons = services.readiness.problems()
    return Health(status="degraded" if reasons else "ok", problems=reasons)


@router.get(
    "/metrics",
    summary="Metrics in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text of a scrape."}},
)
async def metrics(services: Services) -> Response:
    exposition = Exposition(services.metrics, services.workers, services.uptime, services.version)
    return Response(exposition.text(), headers={"content-type": exposition.content_type})
