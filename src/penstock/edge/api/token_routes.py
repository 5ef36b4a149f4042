"""Join tokens: how a worker or runner introduces itself the first time."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from penstock.accounts.permissions import owns
from penstock.edge.api.runner_routes import expel_runner
from penstock.edge.layers.access import Services, WorkerWriter
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import After, Body, Id, Limit, ListView, OrgId, Seconds, Time, View, page

router = APIRouter(prefix="/api/join-tokens", tags=["Join tokens"])


Expel = Annotated[bool, Query(description="Forget the workers and runners that joined with it, too.")]


class TokenView(View):
    id: str
    role: str
    hint: Annotated[str, Field(description="How the token begins.")]
    org_id: Annotated[str | None, Field(description="Whom its workers serve alone; null: every organisation.")]
    created_at: Time
    expires_at: float | None
    revoked_at: float | None


class CreatedToken(TokenView):
    secret: Annotated[str, Field(description="The token itself. It is shown this once.")]


class TokenList(ListView):
    data: list[TokenView]


class NewToken(Body):
    role: Literal["worker", "runner"] = "worker"
    expires_in_seconds: Annotated[Seconds | None, Field(description="null: it does not expire.")] = None
    org_id: Annotated[OrgId | None, Field(description="null: the platform, for an administrator; otherwise the caller's own.")] = None


@router.get("", responses=problems(422), summary="List join tokens")
async def list_tokens(caller: WorkerWriter, services: Services, limit: Limit = 1000, after: After = None) -> TokenList:
    seen = [token for token in await services.store.accounts.join_tokens() if owns(caller, token.org_id)]
    return TokenList.model_validate(page(seen, limit, after, lambda token: token.id))


@router.post("", status_code=201, responses=body_problems(404), summary="Make a join token")
async def create_token(body: NewToken, caller: WorkerWriter, services: Services) -> CreatedToken:
    record, secret = await services.accounts.create_join_token(
        caller, role=body.role, expires_in_seconds=body.expires_in_seconds, org_id=body.org_id
    )
    return CreatedToken(**TokenView.model_validate(record).model_dump(), secret=secret)


@router.delete("/{token_id}", status_code=204, responses=problems(404, 422), summary="Revoke a join token")
async def revoke_token(token_id: Id, caller: WorkerWriter, services: Services, expel: Expel = False) -> None:
    """It introduces no worker or runner any more. Those that have joined with it stay, unless `expel` says otherwise."""
    await services.accounts.revoke_join_token(caller, token_id)
    if not expel:
        return
    for worker in await services.store.workers.all():
        if worker.token_id == token_id:
            await services.store.workers.remove(worker.id)
            services.workers.worker_left(worker.id)
    for runner in await services.tasks.store.runners():
        if runner.token_id == token_id:
            await expel_runner(services, runner)
