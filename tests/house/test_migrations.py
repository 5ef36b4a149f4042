"""The tables that the code describes are what the migrations add up to, on both databases."""

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, select

from penstock.storage.stores import _migration as migration
from penstock.storage.stores._schema import SCHEMA_VERSION, described
from penstock.storage.stores.sql.tables import change_counter
from tests.support import postgres


def shape(connection: Connection) -> dict[str, Any]:
    """Everything that the database knows of its tables."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {column["name"]: {**column, "type": repr(column["type"])} for column in inspector.get_columns(table)},
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": [(key["constrained_columns"], key["referred_table"]) for key in inspector.get_foreign_keys(table)],
            "indexes": sorted((index["name"] or "", index["column_names"], index["unique"]) for index in inspector.get_indexes(table)),
            "unique": sorted(constraint["column_names"] for constraint in inspector.get_unique_constraints(table)),
        }
        for table in sorted(inspector.get_table_names())
    }


def words_of_sqlite(name: str | None, type_: str, _: object) -> bool:
    """Its index of words is no table of the usual kind, and has five of its own; that both ways make the same is compared below."""
    return type_ == "table" and (name or "").startswith("task_search")


def rows(connection: Connection) -> list[Any]:
    """What a new store begins with."""
    return [tuple(row) for row in connection.execute(select(change_counter))]


def check(migrated_url: str, described_url: str) -> None:
    migrated, direct = create_engine(migrated_url), create_engine(described_url)
    metadata = described(migrated.dialect.name)
    with migrated.begin() as connection:
        migration.upgrade(connection)
        assert migration.version(connection) == SCHEMA_VERSION
        on_sqlite = migrated.dialect.name == "sqlite"
        options = {"compare_type": True, "include_name": lambda *named: not (on_sqlite and words_of_sqlite(*named))}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        summed_up, counted = shape(connection), rows(connection)
    with direct.begin() as connection:
        migration.create(connection)
        assert migration.version(connection) == SCHEMA_VERSION
        assert summed_up == shape(connection)
        assert rows(connection) == counted
    migrated.dispose()
    direct.dispose()


def test_sqlite_schema_is_the_sum_of_its_migrations(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/migrated.db", f"sqlite:///{tmp_path}/described.db")


def test_postgres_schema_is_the_sum_of_its_migrations() -> None:
    with postgres.database() as migrated, postgres.database() as direct:
        check(migrated.replace("postgresql", "postgresql+psycopg", 1), direct.replace("postgresql", "postgresql+psycopg", 1))


def test_the_newest_migration_is_the_version_that_the_code_needs() -> None:
    script = ScriptDirectory(str(migration.MIGRATIONS))
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions[0] == SCHEMA_VERSION
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/penstock.db", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE worker (id TEXT)")  # in the way of one of ours
        connection.exec_driver_sql("BEGIN")
        with pytest.raises(Exception, match="already exists"):
            migration.upgrade(connection)
        connection.exec_driver_sql("ROLLBACK")
        assert inspect(connection).get_table_names() == ["worker"]
    engine.dispose()
