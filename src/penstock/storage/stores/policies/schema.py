"""The policy and its versions."""

from sqlalchemy import Column, Double, Table, Text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

policy_version = Table(
    "policy_version",
    metadata,
    Column("version", NUMBER, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),  # JSON: read and written whole, never searched
    Column("author", NAME, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)
