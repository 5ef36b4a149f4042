"""Files, batches and kept answers; the price of the class batch."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
OPEN = sa.text("NOT is_over")


def upgrade() -> None:
    op.create_table(
        "stored_file",
        sa.Column("id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", NAME, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("stored_file_org", "stored_file", ["org_id", "id"])
    op.create_index("stored_file_expiry", "stored_file", ["expires_at"])
    op.create_table("batch", *_batch_columns(), sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]), sa.PrimaryKeyConstraint("id"))
    op.create_index("batch_org", "batch", ["org_id", "id"])
    op.create_index("batch_open", "batch", ["id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_table(
        "response",
        sa.Column("id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("previous_id", NAME),
        sa.Column("task_id", NAME),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("response_expiry", "response", ["expires_at"])
    op.create_index("response_open", "response", ["id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.add_column("model", sa.Column("batch_percent", sa.BigInteger(), nullable=False, server_default="50"))


def _batch_columns() -> "list[sa.Column[Any]]":
    names = {
        "must": ("id", "org_id", "key_id", "endpoint", "input_file_id", "status"),
        "moments": ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"),
    }
    return [
        *(sa.Column(name, NAME, nullable=False) for name in names["must"]),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in names["moments"]),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("total", "completed", "failed")),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("output_file_id", NAME),
        sa.Column("error_file_id", NAME),
        sa.Column("output_expires_seconds", sa.Double()),
        sa.Column("usage", sa.JSON()),
        sa.Column("claimed_by", NAME, nullable=False, server_default=""),
        sa.Column("claimed_until", sa.Double(), nullable=False, server_default="0"),
    ]
