"""Organisations and who belongs to them: plans, users, keys, join tokens."""

from sqlalchemy import JSON, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text, false, true

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

plan = Table(
    "plan",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("service_class", Integer, nullable=False),
    Column("default_tier", NAME, nullable=False),
    Column("tiers", JSON, nullable=False),
    Column("requests_per_minute", NUMBER, nullable=False),
    Column("tokens_per_minute", NUMBER, nullable=False),
    Column("concurrency", NUMBER, nullable=False),
    Column("spill", Boolean, nullable=False),
    Column("downgrade", Boolean, nullable=False, server_default=true()),
    Column("file_bytes", NUMBER, nullable=False, server_default="107374182400"),
    Column("tasks", NUMBER, nullable=False, server_default="5000000"),
    Column("schedules", NUMBER, nullable=False, server_default="10000"),
    Column("workers", NUMBER, nullable=False, server_default="10000"),
)

organisation = Table(
    "organisation",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("own_models_first", Boolean, nullable=False, server_default=false()),
)

user = Table(
    "account_user",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, ForeignKey("organisation.id"), nullable=False),
    Column("email", Text, nullable=False),
    Column("folded_email", NAME, nullable=False, unique=True),  # what is compared: without regard to case
    Column("password_hash", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, ForeignKey("organisation.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("allowed_networks", JSON, nullable=False),
    Column("requests_per_minute", NUMBER),
    Column("tokens_per_minute", NUMBER),
    Column("concurrency", NUMBER),
    Index("api_key_org", "org_id"),
)

join_token = Table(
    "join_token",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("role", NAME, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("org_id", NAME, ForeignKey("organisation.id")),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)
