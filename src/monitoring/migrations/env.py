"""What Alembic runs; the connection is given by `database.upgrade`."""

from alembic import context

from src.monitoring.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
