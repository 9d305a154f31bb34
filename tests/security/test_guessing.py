"""Wrong keys are counted by address: in Redis for all processes, in memory without it; good keys go on."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from flask import Flask
from werkzeug.test import TestResponse

from api.app import create_app
from api.guessing import _bucket
from api.services import services_of
from models.settings import Settings
from tests.api.conftest import Caller
from tests.api.helpers import free_port
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder

MOST = 3
MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(settings: Settings) -> Iterator[MakeApp]:
    """Applications that take three wrong keys a minute from an address."""
    made: list[Flask] = []

    def make(**changes: Any) -> Flask:
        limits = {"api_threads": 16, "failed_keys_per_minute": MOST}
        made.append(create_app(settings.model_copy(update={**limits, **changes})))
        return made[-1]

    yield make
    for app in made:
        services_of(app).close()


@pytest.fixture
def hung() -> Iterator[str]:
    """A Redis that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def guess(app: Flask, number: int = 0, address: str = "192.0.2.1", **headers: str) -> TestResponse:
    """A request with a key of the right form that nobody holds."""
    key = f"sl_{number:012x}_{'x' * 43}"
    return app.test_client().get(
        "/v1/me", headers={"Authorization": f"Bearer {key}", **headers}, environ_base={"REMOTE_ADDR": address}
    )


def statuses(app: Flask, count: int, **more: str) -> list[int]:
    return [guess(app, number, **more).status_code for number in range(count)]


def assert_limited(app: Flask, seed: Seeder) -> None:
    assert statuses(app, MOST + 1) == [401] * MOST + [429]
    document = assert_problem(answer := guess(app), 429, "too_many_failed_keys")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "192.0.2.1" not in document["detail"]
    # Another address goes on.
    assert guess(app, address="192.0.2.2").status_code == 401


def test_an_address_may_send_so_many_wrong_keys(make_app: MakeApp, seed: Seeder) -> None:
    assert_limited(make_app(), seed)


def test_without_redis_each_process_counts(make_app: MakeApp, seed: Seeder, hung: str) -> None:
    for redis_url in (f"redis://127.0.0.1:{free_port()}/0", hung):
        assert_limited(make_app(redis_url=redis_url), seed)


def test_all_processes_count_together(make_app: MakeApp) -> None:
    first, second = make_app(), make_app()
    assert statuses(first, MOST) == [401] * MOST
    # The other process learns of it with the first wrong key that it sees.
    assert statuses(second, 2) == [401, 429]


def test_a_good_key_of_the_same_address_is_not_locked_out(make_app: MakeApp, seed: Seeder) -> None:
    app = make_app()
    client_id = seed.client()
    caller = Caller(app, seed.key(client_id), client_id)
    assert caller.get("/v1/me", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    assert statuses(app, MOST + 1)[-1] == 429
    assert caller.get("/v1/me", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    # A key that was never good here waits like everybody.
    fresh = Caller(app, seed.key(client_id), client_id)
    assert fresh.get("/v1/me", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 429


def test_what_is_no_key_and_no_header_at_all_guess_nothing(make_app: MakeApp) -> None:
    app = make_app()
    for text in ("", "Bearer x", "Bearer sl_0_0", "Basic eDp4") * MOST:
        answer = app.test_client().get("/v1/me", headers={"Authorization": text} if text else {})
        assert answer.status_code == 401


def test_a_forged_forwarded_header_changes_nothing(make_app: MakeApp) -> None:
    app = make_app()
    forged = [guess(app, n, **{"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(MOST + 1)]
    assert forged[-1] == 429


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(make_app: MakeApp) -> None:
    app = make_app(proxies=1)
    seen = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}
    assert [guess(app, n, **seen).status_code for n in range(MOST + 1)][-1] == 429
    assert guess(app, 0, **{"X-Forwarded-For": "203.0.113.9, 198.51.100.2"}).status_code == 401


def test_the_count_in_redis_ends_and_holds_no_key(make_app: MakeApp, settings: Settings) -> None:
    guess(make_app())
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as connection:
        (key,) = connection.keys("safelight:guess:*")
        assert connection.get(key) == "1"
        assert 0 < connection.ttl(key) <= 60
        assert "sl_" not in key


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_ipv6_counts_by_customer(address: str | None, bucket: str) -> None:
    assert _bucket(address) == bucket
