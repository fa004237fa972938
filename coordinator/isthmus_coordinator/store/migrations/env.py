"""How alembic reaches the store: over the connection it is handed."""

from __future__ import annotations

from alembic import context

from isthmus_coordinator.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes a table by making it anew
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
