"""The rate limit: per key, in Redis, and without Redis."""

import socket
import time
from collections.abc import Iterator

import pytest
from flask import Flask

from api.app import create_app
from api.services import services_of
from models.settings import Settings
from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import free_port
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder

LIMIT = "3 per minute"


@pytest.fixture
def hung() -> Iterator[str]:
    """A Redis that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def limited(settings: Settings, redis_url: str | None = None) -> Flask:
    changes = {"rate_limit": LIMIT, **({"redis_url": redis_url} if redis_url else {})}
    return create_app(settings.model_copy(update=changes))


def assert_limited(app: Flask, seed: Seeder) -> None:
    """Three requests of each key pass, over all endpoints together."""
    client_id = seed.client()
    first, second = (Caller(app, seed.key(client_id), client_id) for _ in range(2))
    assert [first.get(path).status_code for path in ("/v1/me", "/v1/jobs", "/v1/tasks")] == [200, 200, 200]
    document = assert_problem(answer := first.get("/v1/me"), 429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "3 per 1 minute" in document["detail"]
    assert second.get("/v1/me").status_code == 200
    assert first.get("/v1/health/live").status_code == 200


def test_each_key_has_its_limit(app_settings: Settings, seed: Seeder) -> None:
    app = limited(app_settings)
    other = limited(app_settings)
    try:
        assert_limited(app, seed)
        client_id = seed.client()
        key = seed.key(client_id)
        # Two processes count together.
        for counted in (app, other, app):
            assert Caller(counted, key, client_id).get("/v1/me").status_code == 200
        assert Caller(other, key, client_id).get("/v1/me").status_code == 429
    finally:
        services_of(app).close()
        services_of(other).close()


def test_without_redis_the_limit_is_kept_in_memory(app_settings: Settings, seed: Seeder, hung: str) -> None:
    for redis_url in (f"redis://127.0.0.1:{free_port()}/0", hung):
        app = limited(app_settings, redis_url)
        try:
            assert_limited(app, seed)
        finally:
            services_of(app).close()


def test_a_hung_redis_does_not_hold_up_a_submit_or_a_read(app_settings: Settings, seed: Seeder, hung: str) -> None:
    app = create_app(app_settings.model_copy(update={"redis_url": hung}))
    seed.checkpoint()
    client_id = seed.client()
    caller = Caller(app, seed.key(client_id, Role.OPERATOR), client_id)
    try:
        caller.submit()
        began = time.monotonic()
        jobs = [caller.submit() for _ in range(10)]
        seed.claim(max_images=16)
        for job in jobs:
            assert caller.get(job["urls"]["self"]).json["state"] == "running"
            assert caller.get(job["urls"]["preview"]).status_code == 404
        # Forty calls of a Redis that was asked each time would take more than four seconds by themselves.
        assert time.monotonic() - began < 4
        assert caller.post("/v1/jobs", PROMPT).status_code == 202
    finally:
        services_of(app).close()
