"""How many requests of one key may run at the same time."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("api_key", sa.Column("concurrency", sa.BigInteger()))
