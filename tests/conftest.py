"""Fixtures of the whole suite: the real services once per session, a fresh migrated database for each test.

The database of a test is cloned from a template, so that tests never see each other's rows; the suite only ever talks
to services that it started itself.
"""

import json
import signal
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from models.migrate import migrate
from models.session import Sessions, make_engine, make_sessions
from models.settings import Settings
from models.storage import Storage
from tests.order import ordered
from tests.seeding import Seeder
from tests.services import Services, running_services

# The machines that run this are slow and shared: how long an example takes says nothing.
hypothesis_settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("suite")

DROP_TRIES = 20


def pytest_configure(config: pytest.Config) -> None:
    """Keep our own order of files; and hear what a terminal sends.

    Started in the background, this process ignores that, and so would its children.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the files, the long ones begin early."""
    if hasattr(config, "workerinput"):
        place = {name: at for at, name in enumerate(ordered(_file_of(item) for item in items))}
        items.sort(key=lambda item: place[_file_of(item)])


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.split("::")[0]


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Postgres, Valkey and SeaweedFS in a temporary folder."""
    with running_services() as running:
        yield running


@pytest.fixture(scope="session")
def base_settings(services: Services) -> Settings:
    """The settings of the session's services; short leases, so that faults show quickly."""
    return Settings(
        home=services.home,
        database_url=services.database_url,
        redis_url=services.redis_url,
        s3_endpoint_url=services.s3.endpoint_url,
        s3_region=services.s3.region,
        s3_bucket=services.s3.bucket,
        s3_access_key_id=services.s3.access_key_id,
        s3_secret_access_key=services.s3.secret_access_key,
        checkpoint_cache=services.home / "checkpoints",
        log_format="text",
    )


@pytest.fixture(scope="session")
def template(base_settings: Settings) -> str:
    """The name of a migrated database that nobody is connected to."""
    name = "safelight_template"
    _administer(base_settings, "CREATE DATABASE {}", name)
    migrate(with_database(base_settings, name))
    Storage(base_settings).ensure_bucket()
    return name


@pytest.fixture
def settings(base_settings: Settings, template: str) -> Iterator[Settings]:
    """Settings with a database of this test's own, and an empty Redis."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _administer(base_settings, "CREATE DATABASE {} TEMPLATE {}", name, template)
    redis.Redis.from_url(base_settings.redis_url).flushall()
    yield with_database(base_settings, name)
    _drop(base_settings, name)


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The same settings for a process that the test starts; merge with os.environ."""
    return settings_environment(settings)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An engine on the test's database."""
    engine = make_engine(settings, application="test")
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """Sessions on the test's database."""
    return make_sessions(engine)


@pytest.fixture
def seed(sessions: Sessions, settings: Settings) -> Seeder:
    """Makes clients, checkpoints and jobs."""
    return Seeder(sessions, settings)


@pytest.fixture
def storage(settings: Settings, template: str) -> Storage:
    """The session's bucket."""
    return Storage(settings)


def with_database(settings: Settings, name: str) -> Settings:
    """The same services, another database."""
    url = make_url(settings.database_url).set(database=name)
    return settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})


def settings_environment(settings: Settings) -> dict[str, str]:
    """Settings as the environment variables that give them."""
    found = {}
    for name, value in settings:
        if value is None:
            continue
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        found[f"SAFELIGHT_{name.upper()}"] = json.dumps(text) if isinstance(text, tuple) else str(text)
    return found


def _drop(settings: Settings, name: str) -> None:
    """Drop a database, whoever is in it. Autovacuum cannot be thrown out by us, but ends soon."""
    for _ in range(DROP_TRIES):
        try:
            return _administer(settings, "DROP DATABASE {} WITH (FORCE)", name)
        except psycopg.errors.InsufficientPrivilege:
            time.sleep(0.5)
    return _administer(settings, "DROP DATABASE {} WITH (FORCE)", name)


def _administer(settings: Settings, statement: str, *names: str) -> None:
    url = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
