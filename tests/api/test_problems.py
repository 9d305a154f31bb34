"""Every error leaves as a problem document: the status, the code, the pointers, and nothing of the inside."""

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import services_of
from models.settings import Settings
from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import free_port
from tests.seeding import Seeder

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
JSON = {"Content-Type": "application/json"}


def assert_problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The document, once its form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    document: dict[str, Any] = dict(answer.json or {})
    assert set(document) >= MEMBERS
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return document


NO_JSON: tuple[bytes, ...] = (
    b"{",
    b"",
    b"\xff\xfe",
    b'{"task": NaN}',
    b'{"task": "\xed\xa0\x80"}',
    b'{"a": "\\ud800"}',
    b"[" * 100_000,
    b'{"a": 1,}',
    b"9" * 100_000 + b"}",
)
WRONG_BODIES: tuple[tuple[Any, set[str]], ...] = (
    ([], {""}),
    ("text", {""}),
    ({}, {"/task"}),
    ({"task": "paint"}, {"/task"}),
    ({**PROMPT, "tsak": 1}, {"/tsak"}),
    ({**PROMPT, "params": {}}, {"/params/prompt"}),
    ({**PROMPT, "params": {"prompt": "a", "width": "64"}}, {"/params/width"}),
    ({**PROMPT, "params": {"prompt": "a", "num_images": True}}, {"/params/num_images"}),
    ({**PROMPT, "params": {"prompt": "a", "num_images": 5}}, {"/params/num_images"}),
    ({**PROMPT, "params": {"prompt": "a", "seed": 10**400}}, {"/params/seed"}),
    (
        {**PROMPT, "params": {"prompt": "a", "height": 63, "num_inference_steps": 999}},
        {"/params/height", "/params/num_inference_steps"},
    ),
    ({**PROMPT, "params": {"prompt": "nul \x00"}}, {"/params/prompt"}),
    ({**PROMPT, "params": {"prompt": "a", "a/b~": 1}}, {"/params/a~1b~0"}),
    ({**PROMPT, "tag": "nul \x00"}, {"/tag"}),
    ({**PROMPT, "priority": 101, "lane": "fast", "deadline_seconds": 0}, {"/priority", "/lane", "/deadline_seconds"}),
    ({**PROMPT, "deadline_seconds": 1e300}, {"/deadline_seconds"}),
    ({**PROMPT, "retention_days": 10**9}, {"/retention_days"}),
    ({**PROMPT, "checkpoint": "nobody"}, {"/checkpoint"}),
    ({"task": "class_to_image", "params": {"class_label": 1.5}}, {"/params/class_label"}),
    ({"task": "class_to_image", "params": {"class_label": 1}}, {"/checkpoint"}),
)
WRONG_QUERIES: tuple[str, ...] = (
    "limit=0",
    "limit=101",
    "limit=1.0",
    "limit=1&limit=2",
    "limit=1%5F0",
    "state=asleep",
    "task=paint",
    "cursor=nonsense",
    "cursor=W10",
    "cursor=%00",
    "cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgIngiXQ",  # the year 1, east of Greenwich
    "created_after=yesterday",
    "created_after=2026-01-01T00:00:00",
    "created_before=9999999999999999999",
    "tag=%00",
    "colour=red",
)


def test_what_is_no_json_is_400(caller: Caller, subtests: pytest.Subtests) -> None:
    for body in NO_JSON:
        with subtests.test(body=body[:20]):
            assert_problem(caller.post("/v1/jobs", data=body, headers=JSON), 400, "broken_json")


def test_another_content_type_is_415(caller: Caller, subtests: pytest.Subtests) -> None:
    for content_type in (None, "text/plain", "application/x-www-form-urlencoded", "nonsense"):
        with subtests.test(content_type=content_type):
            answer = caller.post("/v1/jobs", data=b'{"task": "text_to_image"}', content_type=content_type)
            assert_problem(answer, 415, "unsupported_media_type")


def test_wrong_fields_are_422_with_a_pointer_each(caller: Caller, subtests: pytest.Subtests) -> None:
    for body, pointers in WRONG_BODIES:
        with subtests.test(pointers=pointers):
            document = assert_problem(caller.post("/v1/jobs", body), 422, "validation_failed")
            assert {entry["pointer"] for entry in document["errors"]} == pointers
            assert all(entry["code"] and entry["message"] for entry in document["errors"])


def test_a_wrong_query_is_422(caller: Caller, subtests: pytest.Subtests) -> None:
    for query in WRONG_QUERIES:
        with subtests.test(query=query):
            assert_problem(caller.get(f"/v1/jobs?{query}"), 422, "validation_failed")
    assert caller.get("/v1/jobs?created_after=0001-01-01T00:00:00%2B23:59").json["items"] == []


def test_a_body_that_is_too_large_is_413(caller: Caller) -> None:
    assert_problem(caller.post("/v1/jobs", data=b" " * ((1 << 20) + 1), headers=JSON), 413, "too_large")


def test_what_is_not_there_is_404_and_a_wrong_method_405(caller: Caller) -> None:
    for path in ("/nowhere", "/v1/jobs/not-a-uuid", "/v1/artifacts/1", f"/v1/jobs/{'0' * 8}-0000-0000-0000-{'0' * 12}"):
        assert_problem(caller.get(path), 404, "not_found")
    wrong = caller("PATCH", "/v1/jobs")
    assert_problem(wrong, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(wrong.headers["Allow"].split(", "))


def test_without_a_key_it_is_401_and_the_answer_says_how(app: Flask, caller: Caller) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {caller.key[:-1]}x"},
        {"Authorization": "Bearer sl_000000000000_" + "a" * 43},
        {"Authorization": "Bearer \xff"},
    )
    for headers in wrong:
        answer = app.test_client().get("/v1/jobs", headers=headers)
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_role_decides_and_the_answer_is_403(callers: dict[Role, Caller]) -> None:
    for role in (Role.CLIENT, Role.VIEWER, Role.OPERATOR):
        assert_problem(callers[role].get("/v1/keys"), 403, "forbidden")
        assert_problem(callers[role].delete("/v1/checkpoints/tiny"), 403, "forbidden")
    assert_problem(callers[Role.CLIENT].get("/v1/workers"), 403, "forbidden")
    assert_problem(callers[Role.VIEWER].post("/v1/jobs", PROMPT), 403, "forbidden")


def test_an_error_of_ours_is_500_and_tells_nothing(app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object, **__: object) -> None:
        raise RuntimeError("secret insides")

    monkeypatch.setattr("api.jobs.routes.place", burst)
    answer = caller.post("/v1/jobs", PROMPT)
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text


def test_a_request_id_is_taken_over_when_it_is_harmless(caller: Caller) -> None:
    assert caller.get("/v1/me", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert caller.get("/v1/me", headers={"X-Request-ID": "<script>"}).headers["X-Request-ID"] != "<script>"


def test_without_postgres_it_is_503_and_not_ready(app_settings: Settings) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    app = create_app(app_settings.model_copy(update={"database_url": url}))
    try:
        client = app.test_client()
        answer = client.get("/v1/jobs", headers={"Authorization": "Bearer sl_000000000000_" + "a" * 43})
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        ready = client.get("/v1/health/ready")
        assert (ready.status_code, ready.json["status"], ready.json["workers"]) == (503, "unready", None)
        assert ready.json["services"]["s3"] == {"state": "up", "detail": None}
        assert client.get("/v1/health/live").status_code == 200
        assert "safelight_queue_jobs" not in client.get("/metrics").text
    finally:
        services_of(app).close()


def test_without_s3_an_upload_is_503_and_a_job_is_still_taken(
    app_settings: Settings, seed: Seeder, picture: bytes
) -> None:
    app = create_app(app_settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{free_port()}"}))
    try:
        seed.checkpoint()
        client_id = seed.client()
        caller = Caller(app, seed.key(client_id), client_id)
        answer = caller.upload(picture)
        assert_problem(answer, 503, "storage_unavailable")
        assert "127.0.0.1" not in answer.text
        caller.submit()
        ready = caller.get("/v1/health/ready")
        assert (ready.status_code, ready.json["services"]["s3"]["state"]) == (503, "down")
    finally:
        services_of(app).close()
