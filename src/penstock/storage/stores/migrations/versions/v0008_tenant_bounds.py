"""Bounds of an organisation in its plan, whether its own workers go first, and the join token that introduced a worker or runner."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    for column, default in (("file_bytes", 100 * 2**30), ("tasks", 5_000_000), ("schedules", 10_000), ("workers", 10_000)):
        op.add_column("plan", sa.Column(column, sa.BigInteger(), nullable=False, server_default=str(default)))
    op.execute("UPDATE plan SET file_bytes = 1073741824, tasks = 20000, schedules = 50, workers = 20 WHERE name = 'free'")
    op.execute("UPDATE plan SET file_bytes = 21474836480, tasks = 500000, schedules = 1000, workers = 500 WHERE name = 'premium'")
    op.add_column("organisation", sa.Column("own_models_first", sa.Boolean(), nullable=False, server_default=sa.false()))
    for table in ("worker", "runner"):
        op.add_column(table, sa.Column("token_id", NAME, nullable=False, server_default=""))
