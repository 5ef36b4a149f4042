"""Sums of usage by currency. What was used before is in the currency that its model has now."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
KEY = ("org_id", "hour", "key_id", "model", "service_tier", "service_class", "currency")
NUMBERS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "estimated_requests", "cost_micros")
CURRENCY = "COALESCE((SELECT currency FROM model WHERE model.id = {table}.model), 'USD')"


def upgrade() -> None:
    op.rename_table("usage_hour", "usage_hour_before")
    op.drop_index("usage_hour_time", "usage_hour_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE usage_hour_before DROP CONSTRAINT usage_hour_pkey")
        op.add_column("usage_record", sa.Column("currency", sa.Text(), nullable=False, server_default=sa.text("''")))
        told = CURRENCY.format(table="usage_record")
        op.execute(f"UPDATE usage_record SET currency = {told}")  # noqa: S608 - our own names
        op.create_index("usage_record_client", "usage_record", ["client_request_id"], postgresql_where=sa.text("client_request_id <> ''"))
    number = sa.BigInteger()
    op.create_table(
        "usage_hour",
        *(sa.Column(name, number if name == "hour" else NAME, nullable=False, autoincrement=False) for name in KEY),
        *(sa.Column(name, number, nullable=False) for name in NUMBERS),
        sa.PrimaryKeyConstraint(*KEY),
    )
    before = ", ".join((*KEY[:-1], CURRENCY.format(table="usage_hour_before"), *NUMBERS))
    op.execute(f"INSERT INTO usage_hour ({', '.join((*KEY, *NUMBERS))}) SELECT {before} FROM usage_hour_before")  # noqa: S608 - our own names
    op.drop_table("usage_hour_before")
    op.create_index("usage_hour_time", "usage_hour", ["hour"])
