"""The tables of files. Ids rise with time, so that they are the order of pages."""

from sqlalchemy import Column, Double, ForeignKey, Index, Table, Text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

stored_file = Table(
    "stored_file",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("org_id", NAME, ForeignKey("organisation.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", NAME, nullable=False),
    Column("size_bytes", NUMBER, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Index("stored_file_org", "org_id", "id"),
    Index("stored_file_expiry", "expires_at"),
)
