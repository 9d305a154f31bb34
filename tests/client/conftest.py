"""A scripted API, and a client on it that does not really sleep."""

from collections.abc import Iterator

import pytest

from safelight import Client
from safelight.client import RetryPolicy
from tests.client.fake import FakeApi, fake_api

KEY = "sl_0123456789ab_secret"


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api() as running:
        yield running


@pytest.fixture
def naps() -> list[float]:
    """Every pause that the client took, instead of taking it."""
    return []


@pytest.fixture
def client(fake: FakeApi, naps: list[float]) -> Iterator[Client]:
    with Client(fake.url, KEY, timeout=5, retry=RetryPolicy(jitter=lambda: 1.0)) as made:
        made._transport.sleep = naps.append
        yield made
