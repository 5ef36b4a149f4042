"""Bringing a schema up to date. Alembic is imported only here and only for a store that is older: it takes 0.3 s and 10 MB."""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, column, insert, inspect, select, table

from penstock.domain.ports import SchemaOutdated
from penstock.storage.stores._schema import SCHEMA_VERSION, described
from penstock.storage.stores.sql.tables import change_counter
from penstock.storage.stores.tasks.schema import BESIDE

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


def bring_up_to_date(connection: Connection) -> None:
    """Inside the connection's transaction: all of it or nothing. Another process may have done it meanwhile."""
    found = version(connection)
    if not found and not inspect(connection).get_table_names():
        create(connection)
    elif found != SCHEMA_VERSION:
        upgrade(connection)


def create(connection: Connection) -> None:
    """An empty database gets the newest schema at once; a test holds that it is what the migrations add up to."""
    described(connection.dialect.name).create_all(connection)
    for statement in BESIDE[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.execute(insert(change_counter).values(id=1, version=0))
    versions = Table(_VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
    versions.create(connection)
    connection.execute(insert(versions).values(version_num=SCHEMA_VERSION))


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply what is missing, inside the connection's transaction: all of it or nothing."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, target)
