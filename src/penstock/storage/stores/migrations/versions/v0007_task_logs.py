"""What functions print, for each attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "task_log",
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("lease_seq", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("runner_id", NAME, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("left_out_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task", "lease_seq"),
    )
