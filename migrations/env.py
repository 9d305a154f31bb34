"""Alembic's environment: our metadata, and timeouts so that no migration ever blocks the queue for long."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

import models.artifacts
import models.audit
import models.checkpoints
import models.clients
import models.daemons
import models.events
import models.jobs
import models.webhooks
import models.workers  # noqa: F401  # each registers its tables
from models.base import Base

LOCK_TIMEOUT_MS = 4000


def run(connection: Connection) -> None:
    """Migrate on a connection that the caller opened."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        context.run_migrations()


def main() -> None:
    """Use the caller's connection when there is one (`models.migrate`, the tests), else open our own."""
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        run(given)
        return
    engine = given or create_engine(context.config.get_main_option("sqlalchemy.url") or "")
    with engine.connect() as connection:
        run(connection)
        connection.commit()


main()
