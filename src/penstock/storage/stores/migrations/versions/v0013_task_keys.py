"""Keys of tasks: of which only so many run at a time, and of which one is not over."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    for table in ("task", "task_hot"):
        op.add_column(table, sa.Column("concurrency_key", NAME))
        op.add_column(table, sa.Column("max_per_key", sa.Integer()))
    op.add_column("task", sa.Column("unique_key", NAME))
    _index("task_unique", "task", ["org_id", "unique_key"], "unique_key IS NOT NULL AND finished_at IS NULL", unique=True)
    _index("task_hot_key", "task_hot", ["org_id", "concurrency_key", "state", "sort_key", "task"], "concurrency_key IS NOT NULL")


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
