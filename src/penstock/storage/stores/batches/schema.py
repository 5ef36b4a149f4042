"""The tables of batches. Ids rise with time, so that they are the order of pages."""

from sqlalchemy import JSON, Boolean, Column, Double, ForeignKey, Index, Table, Text, text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

_OPEN = text("NOT is_over")

batch = Table(
    "batch",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, ForeignKey("organisation.id"), nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("endpoint", NAME, nullable=False),
    Column("input_file_id", NAME, nullable=False),
    Column("status", NAME, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("in_progress_at", Double),
    Column("finalizing_at", Double),
    Column("completed_at", Double),
    Column("failed_at", Double),
    Column("expired_at", Double),
    Column("cancelling_at", Double),
    Column("cancelled_at", Double),
    Column("total", NUMBER, nullable=False),
    Column("completed", NUMBER, nullable=False),
    Column("failed", NUMBER, nullable=False),
    Column("faults", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("model", Text),
    Column("output_file_id", NAME),
    Column("error_file_id", NAME),
    Column("output_expires_seconds", Double),
    Column("usage", JSON),
    Column("claimed_by", NAME, nullable=False, server_default=""),
    Column("claimed_until", Double, nullable=False, server_default="0"),
    Index("batch_org", "org_id", "id"),
    Index("batch_open", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
)
