"""Models and their prices."""

from sqlalchemy import JSON, Column, Double, Table, Text

from penstock.storage.stores.sql.tables import NAME, NUMBER, metadata

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
