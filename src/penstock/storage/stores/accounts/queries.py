"""Organisations, users, keys, plans and join tokens in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Table, func, insert, select, update

from penstock.domain.principal import JoinToken, KeyRecord, Organisation, Plan, Scope, ServiceClass, ServiceTier, User
from penstock.storage.stores.accounts import schema
from penstock.storage.stores.sql import tables
from penstock.storage.stores.sql.changes import add, edit, note_change
from penstock.storage.stores.sql.database import Database


class SqlAccounts:
    """Implements `AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def first_start(
        self, plans: Sequence[Plan], organisation: Organisation, user: User, key: KeyRecord, join_token: JoinToken
    ) -> bool:
        """All that a first start makes, in one transaction; False, and nothing is written, when the store has an organisation."""
        async with self._database.write() as connection:
            # The first to lock the counter is first: the others then see its organisation.
            await connection.execute(select(tables.change_counter.c.version).with_for_update())
            if (await connection.execute(select(func.count()).select_from(schema.organisation))).scalar_one():
                return False
            for plan in plans:
                await connection.execute(self._database.upsert(schema.plan).values(**asdict(plan)))
                await note_change(connection, "plan", plan.name)
            await connection.execute(insert(schema.organisation).values(**asdict(organisation)))
            await connection.execute(insert(schema.user).values(**_user_values(user)))
            await connection.execute(insert(schema.api_key).values(**_key_values(key)))
            await connection.execute(insert(schema.join_token).values(**asdict(join_token)))
            await note_change(connection, "organisation", organisation.id)
            await note_change(connection, "key", key.id)
            await note_change(connection, "join_token", join_token.id)
        return True

    async def create_organisation(self, organisation: Organisation) -> None:
        await add(self._database, schema.organisation, asdict(organisation), "organisation", organisation.id)

    async def organisation(self, org_id: str) -> Organisation | None:
        row = await self._database.row(select(schema.organisation).where(schema.organisation.c.id == org_id))
        return Organisation(**row._mapping) if row else None

    async def organisations(self) -> list[Organisation]:
        table = schema.organisation
        return [Organisation(**row._mapping) for row in await self._database.rows(select(table).order_by(table.c.created_at, table.c.id))]

    async def update_organisation(self, organisation: Organisation) -> bool:
        table = schema.organisation
        statement = update(table).where(table.c.id == organisation.id).values(**asdict(organisation))
        return await edit(self._database, statement, "organisation", organisation.id)

    async def create_user(self, user: User) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(schema.user).values(**_user_values(user)))

    async def user_by_email(self, email: str) -> User | None:
        row = await self._database.row(select(schema.user).where(schema.user.c.folded_email == email.casefold()))
        if row is None:
            return None
        values = dict(row._mapping)
        del values["folded_email"]
        return User(**values)

    async def update_user(self, user: User) -> bool:
        async with self._database.write() as connection:
            changed = await connection.execute(update(schema.user).where(schema.user.c.id == user.id).values(**_user_values(user)))
            return changed.rowcount > 0

    async def create_key(self, key: KeyRecord) -> None:
        await add(self._database, schema.api_key, _key_values(key), "key", key.id)

    async def key(self, key_id: str) -> KeyRecord | None:
        row = await self._database.row(select(schema.api_key).where(schema.api_key.c.id == key_id))
        return _key(row) if row else None

    async def key_by_digest(self, digest: bytes) -> KeyRecord | None:
        row = await self._database.row(select(schema.api_key).where(schema.api_key.c.digest == digest))
        return _key(row) if row else None

    async def keys(self, org_id: str | None = None) -> list[KeyRecord]:
        table = schema.api_key
        query = select(table).order_by(table.c.created_at.desc(), table.c.id.desc())
        if org_id is not None:
            query = query.where(table.c.org_id == org_id)
        return [_key(row) for row in await self._database.rows(query)]

    async def update_key(self, key: KeyRecord) -> bool:
        statement = update(schema.api_key).where(schema.api_key.c.id == key.id).values(**_key_values(key))
        return await edit(self._database, statement, "key", key.id)

    async def revoke_key(self, key_id: str, at: float) -> bool:
        return await self._revoke(schema.api_key, key_id, at, "key")

    async def plans(self) -> list[Plan]:
        return [_plan(row) for row in await self._database.rows(select(schema.plan).order_by(schema.plan.c.name))]

    async def save_plan(self, plan: Plan) -> None:
        await edit(self._database, self._database.upsert(schema.plan).values(**asdict(plan)), "plan", plan.name)

    async def create_join_token(self, token: JoinToken) -> None:
        await add(self._database, schema.join_token, asdict(token), "join_token", token.id)

    async def join_token_by_digest(self, digest: bytes) -> JoinToken | None:
        row = await self._database.row(select(schema.join_token).where(schema.join_token.c.digest == digest))
        return JoinToken(**row._mapping) if row else None

    async def join_tokens(self) -> list[JoinToken]:
        table = schema.join_token
        query = select(table).order_by(table.c.created_at.desc(), table.c.id.desc())
        return [JoinToken(**row._mapping) for row in await self._database.rows(query)]

    async def revoke_join_token(self, token_id: str, at: float) -> bool:
        return await self._revoke(schema.join_token, token_id, at, "join_token")

    async def _revoke(self, table: Table, row_id: str, at: float, kind: str) -> bool:
        first_time = func.coalesce(table.c.revoked_at, at)
        return await edit(self._database, update(table).where(table.c.id == row_id).values(revoked_at=first_time), kind, row_id)


def _user_values(user: User) -> dict[str, Any]:
    return asdict(user) | {"folded_email": user.email.casefold()}


def _key_values(key: KeyRecord) -> dict[str, Any]:
    return asdict(key) | {"scopes": sorted(key.scopes)}


def _key(row: Row[Any]) -> KeyRecord:
    values = dict(row._mapping)
    values["scopes"] = frozenset(Scope(scope) for scope in values["scopes"])
    values["allowed_networks"] = tuple(values["allowed_networks"])
    return KeyRecord(**values)


def _plan(row: Row[Any]) -> Plan:
    values = dict(row._mapping)
    values["service_class"] = ServiceClass(values["service_class"])
    values["default_tier"] = ServiceTier(values["default_tier"])
    values["tiers"] = tuple(ServiceTier(tier) for tier in values["tiers"])
    return Plan(**values)
