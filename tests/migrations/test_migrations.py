"""The migrations go up and down, have one head, and end at the metadata; run by pytest-alembic's own tests."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from pytest_alembic import Config, runner
from pytest_alembic.runner import MigrationContext
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from models.migrate import ADVISORY_LOCK, alembic_config, migrate
from models.settings import Settings
from tests.conftest import with_database

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


@pytest.fixture
def empty(base_settings: Settings) -> Iterator[Settings]:
    """A database without our schema."""
    url = make_url(base_settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("empty")))
        yield with_database(base_settings, "empty")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("empty")))


@pytest.fixture
def alembic_runner(empty: Settings) -> Iterator[MigrationContext]:
    """pytest-alembic's runner on the empty database."""
    engine = create_engine(empty.database_url)
    with runner(Config(alembic_config=alembic_config(empty)), engine=engine) as context:
        yield context
    engine.dispose()


def test_a_second_host_waits_for_the_first_however_long_it_migrates(empty: Settings) -> None:
    """Given a migration that takes longer than a session waits for a lock, then the next one still waits for it."""
    url = make_url(empty.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    hasty = empty.model_copy(update={"lock_timeout_seconds": 0.1})
    with ThreadPoolExecutor(1) as second_host, psycopg.connect(url) as first_host:
        first_host.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        waiting = second_host.submit(migrate, hasty)
        time.sleep(0.5)
        assert not waiting.done()
        first_host.commit()
        waiting.result(30)


def test_migrating_twice_changes_nothing(empty: Settings) -> None:
    migrate(empty)
    migrate(empty)
    with psycopg.connect(
        make_url(empty.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    ) as found:
        pools = found.execute("SELECT pool FROM fair_clocks ORDER BY pool").fetchall()
    assert pools == [("cpu",), ("gpu",)]
