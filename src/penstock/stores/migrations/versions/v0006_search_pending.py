"""Fewer words that a search of tasks has to read one by one."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX task_search_document SET (gin_pending_list_limit = 256)")
