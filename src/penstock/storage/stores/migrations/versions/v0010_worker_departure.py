"""When a worker left by itself, and the machine that it is on."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("worker", sa.Column("left_at", sa.Double(), nullable=False, server_default=sa.text("0")))
    op.add_column("worker", sa.Column("host", sa.Text(), nullable=False, server_default=sa.text("''")))
