"""A sample of decisions."""

from sqlalchemy import Column, Double, Index, Table, Text

from penstock.storage.stores.sql.tables import NAME, metadata

decision = Table(
    "decision",
    metadata,
    Column("request_id", NAME, primary_key=True),
    Column("org_id", NAME, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("document", Text, nullable=False),  # JSON: read and written whole, never searched
    Index("decision_org", "org_id", "started_at"),
    Index("decision_time", "started_at"),
)
