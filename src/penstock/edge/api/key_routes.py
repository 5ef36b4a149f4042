"""API keys: what a program signs its calls with."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from penstock.accounts.key_changes import KeyChanges
from penstock.accounts.permissions import org_filter, owned
from penstock.domain.principal import Scope
from penstock.edge.layers.access import Caller, KeyWriter, Services
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.shapes import After, Body, Count, Id, Limit, ListView, Name, OrgFilter, OrgId, Seconds, Time, View, page

router = APIRouter(prefix="/api/keys", tags=["Keys"])

Network = Annotated[str, Field(min_length=2, max_length=64, pattern=r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")]


class KeyView(View):
    id: str
    org_id: str
    name: str
    hint: Annotated[str, Field(description="How the key begins.")]
    scopes: list[Scope]
    created_at: Time
    expires_at: float | None
    revoked_at: float | None
    allowed_networks: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None


class CreatedKey(KeyView):
    secret: Annotated[str, Field(description="The key itself. It is shown this once.")]


class KeyList(ListView):
    data: list[KeyView]


class NewKey(Body):
    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=16, description="Of the caller's.")] = (Scope.INFERENCE,)
    expires_in_seconds: Annotated[Seconds | None, Field(description="null: it does not expire.")] = None
    allowed_networks: Annotated[tuple[Network, ...], Field(max_length=64, description="CIDR blocks; empty: any address.")] = ()
    requests_per_minute: Annotated[Count | None, Field(description="Below the organisation's limit.")] = None
    tokens_per_minute: Annotated[Count | None, Field(description="Below the organisation's limit.")] = None
    concurrency: Annotated[Count | None, Field(description="Requests at the same time, below the organisation's limit.")] = None
    org_id: Annotated[OrgId | None, Field(description="Another organisation than the caller's: administrators only.")] = None


@router.get("", responses=problems(404, 422), summary="List keys")
async def list_keys(caller: Caller, services: Services, org: OrgFilter = None, limit: Limit = 1000, after: After = None) -> KeyList:
    """Newest first; without their secrets, which are not kept."""
    keys = await services.store.accounts.keys(org_filter(caller, org))
    return KeyList.model_validate(page(keys, limit, after, lambda key: key.id))


@router.post("", status_code=201, responses=body_problems(404), summary="Make a key")
async def create_key(body: NewKey, caller: KeyWriter, services: Services) -> CreatedKey:
    record, secret = await services.accounts.create_key(
        caller,
        name=body.name,
        scopes=frozenset(body.scopes),
        expires_in_seconds=body.expires_in_seconds,
        allowed_networks=body.allowed_networks,
        requests_per_minute=body.requests_per_minute,
        tokens_per_minute=body.tokens_per_minute,
        concurrency=body.concurrency,
        org_id=body.org_id,
    )
    return CreatedKey(**KeyView.model_validate(record).model_dump(), secret=secret)


@router.get("/{key_id}", responses=problems(404, 422), summary="Show a key")
async def show_key(key_id: Id, caller: Caller, services: Services) -> KeyView:
    key = owned(caller, await services.store.accounts.key(key_id), "key")
    return KeyView.model_validate(key)


class KeyChange(Body):
    """Only the fields that are sent change."""

    name: Name | None = None
    expires_in_seconds: Annotated[float | None, Field(ge=0, le=1e10, description="From now; 0: it does not expire.")] = None
    allowed_networks: Annotated[tuple[Network, ...] | None, Field(max_length=64, description="CIDR blocks; empty: any address.")] = None
    requests_per_minute: Annotated[int | None, Field(ge=0, le=10**12, description="0: only the organisation's limit.")] = None
    tokens_per_minute: Annotated[int | None, Field(ge=0, le=10**12, description="0: only the organisation's limit.")] = None


class Rotation(Body):
    overlap_seconds: Annotated[float, Field(ge=0, le=30 * 86_400, description="How long the old key stays valid.")] = 86_400


@router.patch("/{key_id}", responses=body_problems(404), summary="Change a key")
async def change_key(key_id: Id, body: KeyChange, caller: KeyWriter, services: Services) -> KeyView:
    """Its secret and its scopes stay. Every gateway follows within a second."""
    changes = KeyChanges(body.name, body.expires_in_seconds, body.allowed_networks, body.requests_per_minute, body.tokens_per_minute)
    return KeyView.model_validate(await services.accounts.update_key(caller, key_id, changes))


@router.post("/{key_id}/rotate", status_code=201, responses=body_problems(404), summary="Replace a key")
async def rotate_key(key_id: Id, body: Rotation, caller: KeyWriter, services: Services) -> CreatedKey:
    """A new key with the same name, scopes and limits. The old one is valid until the overlap ends."""
    record, secret = await services.accounts.rotate_key(caller, key_id, body.overlap_seconds)
    return CreatedKey(**KeyView.model_validate(record).model_dump(), secret=secret)


@router.delete("/{key_id}", status_code=204, responses=problems(404, 422), summary="Revoke a key")
async def revoke_key(key_id: Id, caller: KeyWriter, services: Services) -> None:
    """Every gateway refuses it within a second. The key stays in the list; revoking it again changes nothing."""
    await services.accounts.revoke_key(caller, key_id)
