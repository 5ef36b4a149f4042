"""Accounts, catalogue, workers, the ledger and the change feed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "change_counter",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "model",
        sa.Column("id", NAME, nullable=False),
        sa.Column("input_per_million", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_per_million", sa.BigInteger()),
        sa.Column("output_per_million", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("priority_percent", sa.BigInteger(), nullable=False),
        sa.Column("flex_percent", sa.BigInteger(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("context_length", sa.BigInteger()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("owned_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "organisation",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "plan",
        sa.Column("name", NAME, nullable=False),
        sa.Column("service_class", sa.Integer(), nullable=False),
        sa.Column("default_tier", NAME, nullable=False),
        sa.Column("tiers", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger(), nullable=False),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=False),
        sa.Column("concurrency", sa.BigInteger(), nullable=False),
        sa.Column("spill", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "secret",
        sa.Column("name", NAME, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "usage_hour",
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("service_tier", NAME, nullable=False),
        sa.Column("service_class", NAME, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("estimated_requests", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "hour", "key_id", "model", "service_tier", "service_class"),
    )
    op.create_index("usage_hour_time", "usage_hour", ["hour"])
    op.create_table(
        "usage_append",
        sa.Column("batch_id", NAME, nullable=False),
        sa.Column("appended_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.create_index("usage_append_time", "usage_append", ["appended_at"])
    if op.get_bind().dialect.name == "sqlite":
        _usage_blocks()
    else:
        _usage_records()
    op.create_table(
        "worker",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("engine", NAME, nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("pool", NAME),
        sa.Column("org_id", NAME),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.Column("running", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("kv_usage", sa.Double(), nullable=False),
        sa.Column("ttft_seconds", sa.Double()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("public_key"),
    )
    op.create_table(
        "account_user",
        sa.Column("id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("folded_email", NAME, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("folded_email"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.Column("allowed_networks", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger()),
        sa.Column("tokens_per_minute", sa.BigInteger()),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("api_key_org", "api_key", ["org_id"])
    op.create_table(
        "join_token",
        sa.Column("id", NAME, nullable=False),
        sa.Column("role", NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("org_id", NAME),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.execute("INSERT INTO change_counter (id, version) VALUES (1, 0)")


def _usage_blocks() -> None:
    op.create_table(
        "usage_block",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("first_started_at", sa.Double(), nullable=False),
        sa.Column("last_started_at", sa.Double(), nullable=False),
        sa.Column("first_request_id", NAME, nullable=False),
        sa.Column("last_request_id", NAME, nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("usage_block_org", "usage_block", ["org_id", "last_started_at", "first_started_at"])
    op.create_index("usage_block_time", "usage_block", ["last_started_at", "first_started_at"])
    op.create_index("usage_block_request", "usage_block", ["last_request_id", "first_request_id"])


def _usage_records() -> None:
    op.create_table(
        "usage_record",
        sa.Column("request_id", NAME, nullable=False),
        sa.Column("org_id", NAME, nullable=False),
        sa.Column("key_id", NAME, nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("operation", NAME, nullable=False),
        sa.Column("service_tier", NAME, nullable=False),
        sa.Column("service_class", NAME, nullable=False),
        sa.Column("worker_id", NAME, nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("ttft_ms", sa.Double(), nullable=False),
        sa.Column("queue_ms", sa.Double(), nullable=False),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("client_request_id", sa.Text(), nullable=False),
    )
    op.create_index("usage_record_org", "usage_record", ["org_id", "started_at", "request_id"])
    op.create_index("usage_record_time", "usage_record", ["started_at", "request_id"])
    op.create_index("usage_record_request", "usage_record", ["request_id"])
