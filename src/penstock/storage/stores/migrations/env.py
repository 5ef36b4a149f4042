"""What Alembic runs for each command: the connection, and its transaction, come from `storage/stores/_migration.py`."""

from alembic import context

from penstock.storage.stores._schema import described

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=described(connection.dialect.name))
with context.begin_transaction():
    context.run_migrations()
