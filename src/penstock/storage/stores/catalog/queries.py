"""Models and their prices in SQL."""

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Row, delete, select

from penstock.domain.models import ModelRecord, Price
from penstock.storage.stores.catalog import schema
from penstock.storage.stores.sql.changes import edit
from penstock.storage.stores.sql.database import Database

_PRICE_FIELDS = tuple(field.name for field in fields(Price))


class SqlModels:
    """Implements `ModelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def models(self) -> list[ModelRecord]:
        return [_model(row) for row in await self._database.rows(select(schema.model).order_by(schema.model.c.id))]

    async def save_model(self, model: ModelRecord) -> None:
        values = asdict(model)
        values |= values.pop("price")
        await edit(self._database, self._database.upsert(schema.model).values(**values), "model", model.id)

    async def remove_model(self, model_id: str) -> bool:
        return await edit(self._database, delete(schema.model).where(schema.model.c.id == model_id), "model", model_id)


def _model(row: Row[Any]) -> ModelRecord:
    values = dict(row._mapping)
    price = Price(**{name: values.pop(name) for name in _PRICE_FIELDS})
    values["aliases"] = tuple(values["aliases"])
    return ModelRecord(price=price, **values)
