"""The tables of stored responses."""

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Table, Text, text

from penstock.storage.stores.sql.tables import NAME, metadata

_OPEN = text("NOT is_over")

response = Table(
    "response",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, ForeignKey("organisation.id"), nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("status", NAME, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("document", Text, nullable=False),
    Column("items", Text, nullable=False),
    Column("previous_id", NAME),
    Column("task_id", NAME),
    Index("response_expiry", "expires_at"),
    Index("response_open", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
)
