"""What was used.

All tables are the same on both databases but one. Single usage records are rows on PostgreSQL (`usage_record`), which people query
and which has processors of its own to keep three indexes up. On SQLite, where every index entry is paid for by the gateway that
serves requests, they are blocks of many records in one value (`usage_block`).
"""

from sqlalchemy import Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text, false, text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

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
    Column("disputed", Boolean, nullable=False, server_default=false()),
    Column("reported_prompt_tokens", NUMBER, nullable=False, server_default="0"),
    Column("reported_completion_tokens", NUMBER, nullable=False, server_default="0"),
    Column("currency", Text, nullable=False, server_default=text("''")),
    # Pages of records, and the part of an hour at the edge of a report; of one organisation, of all.
    Index("usage_record_org", "org_id", "started_at", "request_id"),
    Index("usage_record_time", "started_at", "request_id"),
    Index("usage_record_request", "request_id"),
    Index("usage_record_client", "client_request_id", postgresql_where=text("client_request_id <> ''")),
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
    Column("currency", NAME, primary_key=True),
    Column("requests", NUMBER, nullable=False),
    Column("prompt_tokens", NUMBER, nullable=False),
    Column("completion_tokens", NUMBER, nullable=False),
    Column("cached_tokens", NUMBER, nullable=False),
    Column("reasoning_tokens", NUMBER, nullable=False),
    Column("estimated_requests", NUMBER, nullable=False),
    Column("cost_micros", NUMBER, nullable=False),
    Index("usage_hour_time", "hour"),
)
