"""What a worker or an upstream offers, as a body: its models and how many requests it serves at a time."""

from typing import Annotated, Literal

from pydantic import Field

from penstock.domain.workers import ModelOffer
from penstock.edge.layers.shapes import WHOLE, Body, ModelId

Capability = Literal["chat", "completions", "embeddings", "tools", "json_schema", "logprobs", "vision", "infer"]
Slots = Annotated[int, Field(ge=1, le=100_000, description="Requests that it serves at the same time."), WHOLE]


class Offer(Body):
    """A model as this worker serves it."""

    id: ModelId
    engine_name: Annotated[str, Field(max_length=256)] = ""
    context_length: Annotated[int | None, Field(ge=1, le=1_000_000_000), WHOLE] = None
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=16)] = ()

    def offer(self) -> ModelOffer:
        return ModelOffer(self.id, self.engine_name, self.context_length, tuple(dict.fromkeys(self.capabilities)))


Offers = Annotated[list[Offer], Field(min_length=1, max_length=1024)]
