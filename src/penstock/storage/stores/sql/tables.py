"""What every table is made of, and the tables of no area: secrets, and the change feed."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, String, Table

# Ids and group names are compared byte by byte on both databases, not by the language of the server.
NAME = String().with_variant(String(collation="C"), "postgresql")
# Sums outgrow 32 bits. SQLite's INTEGER has 64 anyway.
NUMBER = BigInteger()

metadata = MetaData()

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
