"""How many gateways stopped while they prepared a task."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("task_hot", sa.Column("losses", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
