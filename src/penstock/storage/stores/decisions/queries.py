"""Decisions in SQL, each as one document."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select

from penstock.domain.decisions import Explanation
from penstock.storage.stores.decisions.schema import decision
from penstock.storage.stores.sql.database import Database

_MOST_FORGOTTEN = 5_000
"""In one go: a transaction must not hold up the others for long."""


class SqlDecisions:
    """Implements `DecisionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, decisions: Sequence[Explanation]) -> None:
        if not decisions:
            return
        rows = [
            {
                "request_id": each.id,
                "org_id": each.org_id,
                "started_at": each.started_at,
                "document": msgspec.json.encode(each).decode(),
            }
            for each in decisions
        ]
        async with self._database.write() as connection:
            await connection.execute(self._database.insert(decision).on_conflict_do_nothing(), rows)

    async def get(self, request_id: str) -> Explanation | None:
        row = await self._database.row(select(decision).where(decision.c.request_id == request_id))
        return None if row is None else _explanation(row)

    async def latest(self, org_id: str | None, limit: int) -> list[Explanation]:
        query = select(decision).order_by(decision.c.started_at.desc()).limit(limit)
        if org_id is not None:
            query = query.where(decision.c.org_id == org_id)
        return [_explanation(row) for row in await self._database.rows(query)]

    async def forget(self, before: float) -> int:
        old = select(decision.c.request_id).where(decision.c.started_at < before).limit(_MOST_FORGOTTEN)
        async with self._database.write() as connection:
            removed = await connection.execute(delete(decision).where(decision.c.request_id.in_(old)))
            return removed.rowcount


def _explanation(row: Row[Any]) -> Explanation:
    return msgspec.json.decode(row.document, type=Explanation)
