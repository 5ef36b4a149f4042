"""Workers and upstreams."""

from sqlalchemy import JSON, Boolean, Column, Double, LargeBinary, Table, Text, text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

worker = Table(
    "worker",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", NAME, nullable=False),
    Column("engine", NAME, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("models", JSON, nullable=False),
    Column("slots", NUMBER, nullable=False),
    Column("pool", NAME),
    Column("org_id", NAME),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, unique=True),  # NULL for an upstream: any number may have none
    Column("draining", Boolean, nullable=False),
    Column("version", Text, nullable=False),
    Column("joined_at", Double, nullable=False),
    Column("last_seen_at", Double, nullable=False),
    Column("running", NUMBER, nullable=False),
    Column("waiting", NUMBER, nullable=False),
    Column("kv_usage", Double, nullable=False),
    Column("ttft_seconds", Double),
    Column("token_id", NAME, nullable=False, server_default=""),  # of the join token that introduced it
    Column("left_at", Double, nullable=False, server_default=text("0")),
    Column("host", Text, nullable=False, server_default=text("''")),
)
