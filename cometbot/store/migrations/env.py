"""How Alembic runs our migrations: always on a connection that it is given, within that connection's transaction."""

from alembic import context

from cometbot.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
