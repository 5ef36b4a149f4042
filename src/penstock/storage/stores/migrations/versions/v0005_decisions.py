"""A sample of decisions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "decision",
        sa.Column("request_id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("decision_org", "decision", ["org_id", "started_at"])
    op.create_index("decision_time", "decision", ["started_at"])
