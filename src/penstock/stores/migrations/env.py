"""What Alembic runs for each command: the connection, and its transaction, come from `stores/_migration.py`."""

from alembic import context

from penstock.stores._schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
