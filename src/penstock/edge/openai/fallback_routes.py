"""The rest of `/v1`: the list of models, and OpenAI's error shape for everything that is not there."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from penstock.domain.errors import ModelNotFound
from penstock.edge.layers.access import Caller, Services
from penstock.edge.layers.documented_errors import openai_errors
from penstock.edge.layers.problems import printable
from penstock.edge.layers.services import ServedModel
from penstock.edge.layers.shapes import PRINTABLE, View

router = APIRouter(prefix="/v1", tags=["Inference"])


class OpenAIModel(View):
    """OpenAI's four fields, then ours."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Field(description="Unix seconds.")]
    owned_by: str
    context_length: int | None
    capabilities: list[str]
    aliases: Annotated[list[str], Field(description="Other names that lead to it.")]
    alias_of: Annotated[str | None, Field(description="This id is an alias of that model; null: it is a model's own.")] = None


class OpenAIModelList(View):
    object: Literal["list"] = "list"
    data: list[OpenAIModel]


@router.get("/models", responses=openai_errors(), summary="List the models that a request could use now")
async def list_usable_models(caller: Caller, services: Services) -> OpenAIModelList:
    """Aliases are in the list as models, because clients look for the name that they use."""
    models = {served.record.id: _model(served) for served in services.workers.models(caller.org_id)}
    aliases = [_alias(model, name) for model in models.values() for name in model.aliases if name not in models]
    return OpenAIModelList(data=[*models.values(), *{alias.id: alias for alias in reversed(aliases)}.values()])


@router.get("/models/{model:path}", responses=openai_errors(400, 404), summary="Show a model")
async def show_usable_model(
    model: Annotated[str, Path(min_length=1, max_length=256, pattern=PRINTABLE, description="An id or an alias; it may contain slashes.")],
    caller: Caller,
    services: Services,
) -> OpenAIModel:
    for served in services.workers.models(caller.org_id):
        if model == served.record.id:
            return _model(served)
    for served in services.workers.models(caller.org_id):
        if model in served.record.aliases:
            return _alias(_model(served), model)
    raise ModelNotFound(f"The model '{printable(model)}' does not exist or you do not have access to it.", param="model")


def _alias(model: OpenAIModel, name: str) -> OpenAIModel:
    return model.model_copy(update={"id": name, "aliases": [], "alias_of": model.id})


def _model(served: ServedModel) -> OpenAIModel:
    record = served.record
    return OpenAIModel(
        id=record.id,
        created=int(record.created_at),
        owned_by=record.owned_by,
        context_length=record.context_length or served.context_length,
        capabilities=list(served.capabilities),
        aliases=list(record.aliases),
    )
