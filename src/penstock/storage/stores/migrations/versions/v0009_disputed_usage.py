"""What engines reported of requests whose report cannot be. Only PostgreSQL has records as rows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.add_column("usage_record", sa.Column("disputed", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in ("reported_prompt_tokens", "reported_completion_tokens"):
        op.add_column("usage_record", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
