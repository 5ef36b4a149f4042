"""The worker registry in SQL."""

from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, update

from penstock.domain.workers import PLAIN_ACCESS, ModelOffer, UpstreamAccess, WorkerKind, WorkerLoad, WorkerRecord
from penstock.storage.stores.sql.changes import edit
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.sql.sealing import Seal
from penstock.storage.stores.workers import schema

_LOAD_FIELDS = ("running", "waiting", "kv_usage", "ttft_seconds")


_DOCUMENT = "\x01"
"""What a sealed text begins with that is more than a secret: no secret has this character."""


class _Document(msgspec.Struct):
    secret: str
    access: UpstreamAccess


class SqlWorkers:
    """Implements `WorkerStore`."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    async def save(self, worker: WorkerRecord) -> None:
        await edit(self._database, self._database.upsert(schema.worker).values(**self._values(worker)), "worker", worker.id)

    async def get(self, worker_id: str) -> WorkerRecord | None:
        row = await self._database.row(select(schema.worker).where(schema.worker.c.id == worker_id))
        return self._record(row) if row else None

    async def by_public_key(self, public_key: bytes) -> WorkerRecord | None:
        row = await self._database.row(select(schema.worker).where(schema.worker.c.public_key == public_key))
        return self._record(row) if row else None

    async def all(self) -> list[WorkerRecord]:
        table = schema.worker
        return [self._record(row) for row in await self._database.rows(select(table).order_by(table.c.joined_at, table.c.id))]

    async def remove(self, worker_id: str) -> bool:
        return await edit(self._database, delete(schema.worker).where(schema.worker.c.id == worker_id), "worker", worker_id)

    async def beat(self, worker_id: str, load: WorkerLoad, at: float) -> bool:
        statement = update(schema.worker).where(schema.worker.c.id == worker_id).values(last_seen_at=at, **asdict(load))
        async with self._database.write() as connection:
            return (await connection.execute(statement)).rowcount > 0

    def _values(self, worker: WorkerRecord) -> dict[str, Any]:
        values = asdict(worker)
        values |= values.pop("load")
        values.pop("access")
        values["sealed_secret"] = self._seal.seal(worker.id, _sealed_text(worker))
        values.pop("secret")
        values["public_key"] = worker.public_key or None
        return values

    def _record(self, row: Row[Any]) -> WorkerRecord:
        values = dict(row._mapping)
        values["load"] = WorkerLoad(**{name: values.pop(name) for name in _LOAD_FIELDS})
        values["secret"], values["access"] = _opened(self._seal.open(values["id"], values.pop("sealed_secret")))
        values["public_key"] = values["public_key"] or b""
        values["kind"] = WorkerKind(values["kind"])
        values["models"] = tuple(ModelOffer(**offer | {"capabilities": tuple(offer["capabilities"])}) for offer in values["models"])
        return WorkerRecord(**values)


def _sealed_text(worker: WorkerRecord) -> str:
    """The secret, or a document with all that is needed to call an upstream, which is sealed as a whole."""
    if worker.access == PLAIN_ACCESS:
        return worker.secret
    return _DOCUMENT + msgspec.json.encode({"secret": worker.secret, "access": worker.access}).decode()


def _opened(text: str) -> tuple[str, UpstreamAccess]:
    if not text.startswith(_DOCUMENT):
        return text, PLAIN_ACCESS
    document = msgspec.json.decode(text[1:], type=_Document)
    return document.secret, document.access
