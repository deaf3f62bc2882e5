"""Alembic's entry: always called with a connection that `Database.migrate` opened."""

from alembic import context

from headrace_server.kernel.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
