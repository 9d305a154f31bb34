"""Clients: an admin changes their share and limits, and at once they hold."""

import pytest
from flask import Flask

from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder


@pytest.fixture
def admin(callers: dict[Role, Caller]) -> Caller:
    return callers[Role.ADMIN]


def test_a_changed_client_reads_as_changed(admin: Caller, seed: Seeder) -> None:
    seed.client("shop", max_live_jobs=7)
    before = admin.get("/v1/clients/shop").json
    assert (before["weight"], before["max_live_jobs"], before["max_priority"], before["live_jobs"]) == (1.0, 7, 0, 0)
    changed = admin("PATCH", "/v1/clients/shop", json={"weight": 2, "max_priority": 10})
    assert changed.status_code == 200
    assert changed.json == {**before, "weight": 2.0, "max_priority": 10}
    assert admin.get("/v1/clients/shop").json == changed.json


def test_null_and_nothing_change_nothing(admin: Caller, seed: Seeder) -> None:
    seed.client("shop")
    before = admin.get("/v1/clients/shop").json
    for body in ({}, {"weight": None, "max_live_jobs": None, "max_priority": None}):
        assert admin("PATCH", "/v1/clients/shop", json=body).json == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"weight": 0}, "/weight"),
        ({"weight": -1}, "/weight"),
        ({"weight": 1001}, "/weight"),
        ({"max_live_jobs": -1}, "/max_live_jobs"),
        ({"max_live_jobs": 1.5}, "/max_live_jobs"),
        ({"max_priority": 101}, "/max_priority"),
        ({"max_priority": "5"}, "/max_priority"),
        ({"live_jobs": 0}, "/live_jobs"),
        ({"name": "other"}, "/name"),
    ],
)
def test_what_does_not_fit_is_refused(admin: Caller, seed: Seeder, body: dict[str, object], pointer: str) -> None:
    seed.client("shop")
    document = assert_problem(admin("PATCH", "/v1/clients/shop", json=body), 422, "validation_failed")
    assert [entry["pointer"] for entry in document["errors"]] == [pointer]


def test_a_client_that_is_not_there(admin: Caller) -> None:
    assert_problem(admin.get("/v1/clients/nobody"), 404, "not_found")
    assert_problem(admin("PATCH", "/v1/clients/nobody", json={"weight": 2}), 404, "not_found")


def test_a_new_priority_and_quota_hold_for_the_next_request(app: Flask, admin: Caller, seed: Seeder) -> None:
    seed.checkpoint()
    client_id = seed.client("shop")
    shop = Caller(app, seed.key(client_id), client_id)
    assert shop.post("/v1/jobs", {**PROMPT, "priority": 5}).status_code == 422
    admin("PATCH", "/v1/clients/shop", json={"max_priority": 5, "max_live_jobs": 1})
    assert shop.post("/v1/jobs", {**PROMPT, "priority": 5}).status_code == 202
    assert_problem(shop.post("/v1/jobs", PROMPT), 429, "quota_exceeded")
    # None at all stops a client without taking its keys.
    admin("PATCH", "/v1/clients/shop", json={"max_live_jobs": 0})
    assert shop.get("/v1/jobs").status_code == 200


def test_clients_come_in_pages_by_name(admin: Caller, seed: Seeder) -> None:
    for name in ("b", "a", "d", "c"):
        seed.client(name)
    names, cursor = [], ""
    while True:
        page = admin.get(f"/v1/clients?limit=2{cursor}").json
        names += [item["name"] for item in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert names == ["a", "b", "c", "d", "house"]
