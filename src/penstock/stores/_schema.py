"""The tables. A column is named after the field that it holds.

This is what the migrations add up to; a change here comes with a migration and a higher `SCHEMA_VERSION`.

All tables are the same on both databases but one. Single usage records are rows on PostgreSQL (`usage_record`), which people query
and which has processors of its own to keep three indexes up. On SQLite, where every index entry is paid for by the gateway that
serves requests, they are blocks of many records in one value (`usage_block`).
"""

from sqlalchemy import JSON, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text, true

from penstock.stores import _schema_decisions, _schema_objects, _schema_policy, _schema_tasks  # noqa: F401 - describe their tables in `metadata`
from penstock.stores._schema_base import NAME, NUMBER, metadata

SCHEMA_VERSION = "0005"
"""The newest migration; as text it sorts like a number."""

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
)

organisation = Table(
    "organisation",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled", Boolean, nullable=False),
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

model = Table(
    "model",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("input_per_million", NUMBER, nullable=False),
    Column("cached_input_per_million", NUMBER),
    Column("output_per_million", NUMBER, nullable=False),
    Column("currency", Text, nullable=False),
    Column("priority_percent", NUMBER, nullable=False),
    Column("flex_percent", NUMBER, nullable=False),
    Column("batch_percent", NUMBER, nullable=False, server_default="50"),
    Column("aliases", JSON, nullable=False),
    Column("context_length", NUMBER),
    Column("created_at", Double, nullable=False),
    Column("owned_by", Text, nullable=False),
)

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
)

secret = Table(
    "secret",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1: the table has one row
    Column("version", NUMBER, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("version", NUMBER, primary_key=True, autoincrement=False),
    Column("kind", NAME, nullable=False),
    Column("subject", NAME, nullable=False),
)

usage_append = Table(
    "usage_append",
    metadata,
    Column("batch_id", NAME, primary_key=True),  # so that a batch that comes again is not counted again
    Column("appended_at", Double, nullable=False),
    Index("usage_append_time", "appended_at"),
)

usage_block = Table(
    "usage_block",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org_id", NAME, nullable=False),  # all records of a block are of one organisation and began in one hour
    Column("first_started_at", Double, nullable=False),
    Column("last_started_at", Double, nullable=False),
    Column("first_request_id", NAME, nullable=False),
    Column("last_request_id", NAME, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    Column("records", LargeBinary, nullable=False),
    Index("usage_block_org", "org_id", "last_started_at", "first_started_at"),
    Index("usage_block_time", "last_started_at", "first_started_at"),
    Index("usage_block_request", "last_request_id", "first_request_id"),
    info={"only_on": "sqlite"},
)

usage_record = Table(
    "usage_record",
    metadata,
    Column("request_id", NAME, nullable=False),
    Column("org_id", NAME, nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("model", NAME, nullable=False),
    Column("operation", NAME, nullable=False),
    Column("service_tier", NAME, nullable=False),
    Column("service_class", NAME, nullable=False),
    Column("worker_id", NAME, nullable=False),
    Column("outcome", NAME, nullable=False),
    Column("prompt_tokens", NUMBER, nullable=False),
    Column("completion_tokens", NUMBER, nullable=False),
    Column("cached_tokens", NUMBER, nullable=False),
    Column("reasoning_tokens", NUMBER, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost_micros", NUMBER, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("ttft_ms", Double, nullable=False),
    Column("queue_ms", Double, nullable=False),
    Column("retries", NUMBER, nullable=False),
    Column("status", NUMBER, nullable=False),
    Column("client_request_id", Text, nullable=False),
    # Pages of records, and the part of an hour at the edge of a report; of one organisation, of all.
    Index("usage_record_org", "org_id", "started_at", "request_id"),
    Index("usage_record_time", "started_at", "request_id"),
    Index("usage_record_request", "request_id"),
    info={"only_on": "postgresql"},
)

usage_hour = Table(
    "usage_hour",
    metadata,
    Column("org_id", NAME, primary_key=True),
    Column("hour", NUMBER, primary_key=True, autoincrement=False),  # whole hours since the Unix epoch
    Column("key_id", NAME, primary_key=True),
    Column("model", NAME, primary_key=True),
    Column("service_tier", NAME, primary_key=True),
    Column("service_class", NAME, primary_key=True),
    Column("requests", NUMBER, nullable=False),
    Column("prompt_tokens", NUMBER, nullable=False),
    Column("completion_tokens", NUMBER, nullable=False),
    Column("cached_tokens", NUMBER, nullable=False),
    Column("reasoning_tokens", NUMBER, nullable=False),
    Column("estimated_requests", NUMBER, nullable=False),
    Column("cost_micros", NUMBER, nullable=False),
    Index("usage_hour_time", "hour"),
)


def described(dialect: str) -> MetaData:
    """The tables that there are on that database."""
    found = MetaData()
    for table in metadata.sorted_tables:
        if table.info.get("only_on", dialect) == dialect:
            table.to_metadata(found)
    return found
