"""The whole schema: the tables of every area (`accounts/schema.py` and so on). A column is named after the field that it holds.

This is what the migrations add up to; a change here comes with a migration and a higher `SCHEMA_VERSION`.
"""

from sqlalchemy import MetaData

from penstock.storage.stores.accounts import schema as accounts
from penstock.storage.stores.batches import schema as batches
from penstock.storage.stores.catalog import schema as catalog
from penstock.storage.stores.decisions import schema as decisions
from penstock.storage.stores.files import schema as files
from penstock.storage.stores.ledger import schema as ledger
from penstock.storage.stores.policies import schema as policies
from penstock.storage.stores.responses import schema as responses
from penstock.storage.stores.sql.tables import metadata
from penstock.storage.stores.tasks import schema as tasks
from penstock.storage.stores.workers import schema as workers

AREAS = (accounts, batches, catalog, decisions, files, ledger, policies, responses, tasks, workers)
"""Each describes its tables in `metadata` when it is imported."""

SCHEMA_VERSION = "0013"
"""The newest migration; as text it sorts like a number."""


def described(dialect: str) -> MetaData:
    """The tables that there are on that database."""
    found = MetaData()
    for table in metadata.sorted_tables:
        if table.info.get("only_on", dialect) == dialect:
            table.to_metadata(found)
    return found
