"""Bringing a schema up to date. Alembic is imported only here, and only when there is something to do: it takes 0.3 s."""

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from penstock.domain.ports import SchemaOutdated
from penstock.stores._schema import SCHEMA_VERSION

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"


def version(connection: Connection) -> str:
    """The newest migration that was applied; empty for an empty database."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return ""
    return connection.execute(select(column("version_num")).select_from(table(_VERSION_TABLE))).scalar() or ""


def problem(found: str) -> SchemaOutdated:
    """Why a schema of that version cannot be used, and the command that helps."""
    if found > SCHEMA_VERSION:
        return SchemaOutdated(
            f"The store has schema {found}, which is newer than this Penstock knows ({SCHEMA_VERSION}): "
            "install the Penstock that ran `penstock migrate` on it."
        )
    state = f"has the older schema {found}" if found else "has no schema yet"
    return SchemaOutdated(f"The store {state}, this Penstock needs {SCHEMA_VERSION}: run `penstock migrate`.")


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply what is missing, inside the connection's transaction: all of it or nothing."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, target)
