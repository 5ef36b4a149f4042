"""What every table is made of; the tables themselves are in `_schema.py` and, by area, beside it."""

from sqlalchemy import BigInteger, MetaData, String

# Ids and group names are compared byte by byte on both databases, not by the language of the server.
NAME = String().with_variant(String(collation="C"), "postgresql")
# Sums outgrow 32 bits. SQLite's INTEGER has 64 anyway.
NUMBER = BigInteger()

metadata = MetaData()
