"""The catalogue: prices, aliases and context lengths of models."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from penstock.accounts.permissions import not_found, org_filter
from penstock.domain.errors import Conflict
from penstock.domain.models import ModelRecord, Price
from penstock.edge.layers.access import Admin, Caller, Services
from penstock.edge.layers.documented_errors import body_problems, problems
from penstock.edge.layers.services import ControlServices, ServedModel
from penstock.edge.layers.shapes import WHOLE, After, Body, Limit, ListView, ModelId, ModelPath, Money, Name, Time, View, page

router = APIRouter(prefix="/api/models", tags=["Models"])

Percent = Annotated[int, Field(ge=0, le=100_000, description="Of the default tier's price."), WHOLE]


class PriceBody(Body):
    """Micro-units of the currency (1,000,000 = 1.00) for a million tokens."""

    input_per_million: Money = 0
    cached_input_per_million: Annotated[Money | None, Field(description="null: the same as uncached input.")] = None
    output_per_million: Money = 0
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    priority_percent: Percent = 175
    flex_percent: Percent = 50
    batch_percent: Percent = 50


class ModelBody(Body):
    """What is left out keeps its value; a new entry starts free of charge and without an alias."""

    price: PriceBody | None = None
    aliases: Annotated[list[ModelId] | None, Field(max_length=64)] = None
    context_length: Annotated[int | None, Field(ge=1, le=1_000_000_000, description="null: as the workers say."), WHOLE] = None
    owned_by: Name | None = None


class PriceView(View):
    input_per_million: int
    cached_input_per_million: int | None
    output_per_million: int
    currency: str
    priority_percent: int
    flex_percent: int
    batch_percent: int


class ModelView(View):
    id: str
    aliases: list[str]
    price: PriceView
    context_length: int | None
    capabilities: list[str]
    created_at: Time
    owned_by: str
    in_catalogue: bool
    workers: Annotated[int, Field(description="How many could serve it now.")]


class ModelList(ListView):
    data: list[ModelView]


@router.get("", responses=problems(422), summary="List models")
async def list_models(caller: Caller, services: Services, limit: Limit = 1000, after: After = None) -> ModelList:
    """What the catalogue has, and what can be served without an entry in it; by id."""
    served = {model.record.id: model for model in services.workers.models(org_filter(caller))}
    entries = {record.id: record for record in await services.store.catalog.models()}
    part = page(sorted(served.keys() | entries.keys()), limit, after, str)
    return ModelList(data=[_view(name, entries.get(name), served.get(name)) for name in part["data"]], has_more=part["has_more"])


@router.put("/{model_id:path}", responses=body_problems(404, 409), summary="Set a model's price, aliases or context length")
async def put_model(model_id: ModelPath, body: ModelBody, caller: Admin, services: Services) -> ModelView:
    entries = {record.id: record for record in await services.store.catalog.models()}
    old = entries.get(model_id) or ModelRecord(model_id, Price(), created_at=services.clock.time())
    aliases = tuple(dict.fromkeys(body.aliases)) if body.aliases is not None else old.aliases
    _check_aliases(model_id, aliases, [record for record in entries.values() if record.id != model_id])
    record = ModelRecord(
        id=model_id,
        price=Price(**body.price.model_dump()) if body.price else old.price,
        aliases=aliases,
        context_length=body.context_length if "context_length" in body.model_fields_set else old.context_length,
        created_at=old.created_at,
        owned_by=body.owned_by or old.owned_by,
    )
    await services.store.catalog.save_model(record)
    return _view(model_id, record, _served(services, model_id))


@router.delete("/{model_id:path}", status_code=204, responses=problems(404, 422), summary="Remove a model's entry")
async def remove_model(model_id: ModelPath, caller: Admin, services: Services) -> None:
    """Workers that serve it go on; it is then free of charge and has no alias."""
    if not await services.store.catalog.remove_model(model_id):
        raise not_found("model in the catalogue")


def _check_aliases(model_id: str, aliases: tuple[str, ...], others: list[ModelRecord]) -> None:
    """A name must lead to one model."""
    taken = {name for record in others for name in (record.id, *record.aliases)}
    if model_id in aliases or taken & set(aliases) or any(model_id in record.aliases for record in others):
        raise Conflict("An alias must differ from every model id and every other alias.", param="aliases")


def _served(services: ControlServices, model_id: str) -> ServedModel | None:
    return next((model for model in services.workers.models(None) if model.record.id == model_id), None)


def _view(model_id: str, entry: ModelRecord | None, served: ServedModel | None) -> ModelView:
    record = entry or (served.record if served else ModelRecord(model_id, Price()))
    return ModelView(
        id=model_id,
        aliases=list(record.aliases),
        price=PriceView.model_validate(record.price),
        context_length=record.context_length or (served.context_length if served else None),
        capabilities=list(served.capabilities) if served else [],
        created_at=record.created_at,
        owned_by=record.owned_by,
        in_catalogue=entry is not None,
        workers=served.workers if served else 0,
    )
