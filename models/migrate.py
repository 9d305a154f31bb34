"""`python -m models.migrate`: bring the database to the newest migration. Safe to run from several hosts at once."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from models.session import make_engine
from models.settings import Settings, get_settings

ADVISORY_LOCK = 0x5AFE
"""One migration at a time, whoever starts it."""


def alembic_config(settings: Settings) -> Config:
    """Alembic's configuration without an ini file; the folder lies beside this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent.parent / "migrations"))
    config.set_main_option("sqlalchemy.url", settings.database_url.replace("%", "%%"))
    return config


def migrate(settings: Settings, revision: str = "head") -> None:
    """Upgrade to `revision` under an advisory lock."""
    engine = make_engine(settings, application="migrate")
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            # Another host may migrate for minutes; Alembic's environment sets the timeout for the tables' own locks.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            config = alembic_config(settings)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


if __name__ == "__main__":
    migrate(get_settings())
    sys.exit(0)
