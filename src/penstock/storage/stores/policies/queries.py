"""The policy's versions in SQL. What is in force as plans is written to their table in the same transaction."""

from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, insert, select

from penstock.domain.errors import Conflict
from penstock.domain.policy import Policy, PolicyVersion
from penstock.domain.principal import Plan
from penstock.storage.stores.accounts import schema as accounts
from penstock.storage.stores.policies.schema import policy_version
from penstock.storage.stores.sql.changes import note_change
from penstock.storage.stores.sql.database import Database
from penstock.storage.stores.sql.tables import change_counter

_TABLE = policy_version


class SqlPolicies:
    """Implements `PolicyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, version: int | None = None) -> PolicyVersion | None:
        query = select(_TABLE).order_by(_TABLE.c.version.desc()).limit(1)
        row = await self._database.row(query if version is None else query.where(_TABLE.c.version == version))
        return None if row is None else _version(row)

    async def page(self, limit: int, before: int | None = None) -> list[PolicyVersion]:
        query = select(_TABLE).order_by(_TABLE.c.version.desc()).limit(limit)
        return [_version(row) for row in await self._database.rows(query if before is None else query.where(_TABLE.c.version < before))]

    async def save(self, new: PolicyVersion) -> bool:
        """Also writes the plans to their own table. False when another version came first. Raises Conflict for a plan that is in use."""
        async with self._database.write() as connection:
            # The first to lock the counter is first: the other then sees this version.
            await connection.execute(select(change_counter.c.version).with_for_update())
            newest = (await connection.execute(select(func.max(_TABLE.c.version)))).scalar_one() or 0
            if new.version != newest + 1:
                return False
            values = {"version": new.version, "author": new.author, "comment": new.comment, "created_at": new.created_at}
            await connection.execute(insert(_TABLE).values(document=msgspec.json.encode(new.policy).decode(), **values))
            kept = {plan.name for plan in new.policy.plans}
            on_others = select(accounts.organisation.c.plan).where(accounts.organisation.c.plan.not_in(kept)).limit(1)
            orphaned = (await connection.execute(on_others)).scalar()
            if orphaned is not None:
                raise Conflict(f"An organisation is on the plan {orphaned!r}: move it to another one first.", param="plans")
            known = {row.name: row for row in (await connection.execute(select(accounts.plan))).all()}
            await connection.execute(delete(accounts.plan).where(accounts.plan.c.name.not_in(kept)))
            for plan in new.policy.plans:
                if not _same(known.get(plan.name), plan):
                    await connection.execute(self._database.upsert(accounts.plan).values(**asdict(plan)))
                    await note_change(connection, "plan", plan.name)
            await note_change(connection, "policy", str(new.version))
        return True


def _same(row: Row[Any] | None, plan: Plan) -> bool:
    return row is not None and dict(row._mapping) == asdict(plan) | {"tiers": list(plan.tiers)}


def _version(row: Row[Any]) -> PolicyVersion:
    policy = msgspec.json.decode(row.document, type=Policy)
    return PolicyVersion(row.version, policy, row.author, row.comment, row.created_at)
