"""Models, as the store keeps them. Asynchronous; may raise PortUnavailable."""

from typing import Protocol

from penstock.domain.models import ModelRecord


class ModelStore(Protocol):
    """Models with their prices and aliases."""

    async def models(self) -> list[ModelRecord]: ...
    async def save_model(self, model: ModelRecord) -> None: ...
    async def remove_model(self, model_id: str) -> bool: ...
