"""Fixtures of the fault tests: proxies in front of the services, and failpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy.engine import make_url

from models.settings import Settings
from tests.faults.points import Points
from tests.faults.proxy import Proxy
from tests.faults.trace import Trace
from tests.worker.conftest import crew, slow_checkpoint

__all__ = ["crew", "slow_checkpoint"]


@pytest.fixture
def postgres_line(settings: Settings) -> Iterator[Proxy]:
    """A proxy in front of Postgres; give `to_postgres(...)` to the process that goes through it."""
    port = make_url(settings.database_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def s3_line(settings: Settings) -> Iterator[Proxy]:
    """A proxy in front of S3."""
    port = urlsplit(settings.s3_endpoint_url or "").port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def redis_line(settings: Settings) -> Iterator[Proxy]:
    """A proxy in front of Redis."""
    port = urlsplit(settings.redis_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def points(tmp_path: Path) -> Callable[[str], Points]:
    """Failpoints of a process, by any name."""
    return lambda name: Points(tmp_path / "points" / name)


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """What the pipelines of the test family do; give its environment to the workers."""
    return Trace(tmp_path / "trace")


def to_postgres(settings: Settings, proxy: Proxy) -> dict[str, str]:
    """The environment of a process whose Postgres is behind this proxy."""
    url = make_url(settings.database_url).set(host="127.0.0.1", port=proxy.port)
    return {"SAFELIGHT_DATABASE_URL": url.render_as_string(hide_password=False)}


def to_s3(proxy: Proxy) -> dict[str, str]:
    """The environment of a process whose S3 is behind this proxy."""
    return {"SAFELIGHT_S3_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}


def to_redis(settings: Settings, proxy: Proxy) -> dict[str, str]:
    """The environment of a process whose Redis is behind this proxy."""
    port = urlsplit(settings.redis_url).port
    return {"SAFELIGHT_REDIS_URL": settings.redis_url.replace(f":{port}", f":{proxy.port}")}
