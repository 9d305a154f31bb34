"""Every operation of the OpenAPI document, tried with every kind of key on another client's things and on one's own.

A client's thing does not exist for another client (404); a wrong role is told so (403); without a good key there is
nothing (401). What was refused has changed nothing; what an operator did to others stands in the audit log.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import services_of
from models.audit import AuditEntry
from models.session import Sessions
from models.settings import Settings
from models.states import Role
from models.storage import Storage
from tests.api.conftest import Caller
from tests.security.doors import DOORS, Door
from tests.security.world import World
from tests.seeding import Seeder

PUBLIC = frozenset({("get", "/v1/health/live"), ("get", "/v1/health/ready")})


@pytest.fixture
def app_settings(settings: Settings) -> Settings:
    """Without the limits that some hundred requests with wrong keys would meet."""
    return settings.model_copy(update={"api_threads": 16, "failed_keys_per_minute": 0, "rate_limit": ""})


@pytest.fixture
def world(
    app: Flask, seed: Seeder, sessions: Sessions, storage: Storage, settings: Settings, picture: bytes, tmp_path: Path
) -> World:
    return World.of(app, seed, sessions, storage, settings, picture, tmp_path)


def operations() -> set[tuple[str, str]]:
    """Every operation of the document."""
    document = create_app(Settings()).api_doc  # type: ignore[attr-defined]
    return {(method, path) for path, item in document["paths"].items() for method in item}


def attempt(
    world: World, door: Door, operation: tuple[str, str], caller: Caller
) -> tuple[TestResponse, dict[str, str]]:
    """Make a thing, and use the operation on it; the answer, and the thing."""
    made = door.make(world) if door.make else {}
    method, path = operation
    return _call(world, door, method, path.format(**made), caller), made


def _call(world: World, door: Door, method: str, path: str, caller: Caller) -> TestResponse:
    answer = caller(method.upper(), path, **door.send(world, next(world.numbers)))
    answer.get_data()
    return answer


def expected(door: Door, role: Role, *, own: bool) -> int:
    """What the table says."""
    if role not in door.roles:
        return 403
    if door.owned and not own and (door.private or role is Role.CLIENT):
        return 404
    return door.ok


def audit_rows(world: World) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_every_operation_has_a_door_and_every_door_an_operation() -> None:
    assert operations() - PUBLIC == set(DOORS)


def test_without_a_good_key_every_door_is_shut(world: World, subtests: pytest.Subtests) -> None:
    dead = {**world.dead_keys(), "none": ""}
    for operation, door in DOORS.items():
        made = door.make(world) if door.make else {}
        before = world.fingerprint()
        for kind, key in dead.items():
            with subtests.test(operation=operation, key=kind):
                headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
                caller = Caller(world.app, key, world.owner.client_id, headers)
                answer = _call(world, door, operation[0], operation[1].format(**made), caller)
                assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert world.fingerprint() == before, operation


def test_another_client_and_every_role_meet_the_right_answer(world: World, subtests: pytest.Subtests) -> None:
    for operation, door in DOORS.items():
        for role, caller in world.others.items():
            with subtests.test(operation=operation, role=role):
                made = door.make(world) if door.make else {}
                before, rows = world.fingerprint(), audit_rows(world)
                answer = _call(world, door, operation[0], operation[1].format(**made), caller)
                status = expected(door, role, own=False)
                assert answer.status_code == status, answer.text
                if status in {403, 404}:
                    assert answer.json["code"] == ("forbidden" if status == 403 else "not_found")
                    assert world.fingerprint() == before
                else:
                    assert audit_rows(world) - rows == (1 if door.audited else 0)
                if operation[0] == "get":
                    assert world.fingerprint() == before or door.audited


def test_the_owner_comes_in_and_its_own_acts_are_no_audit(world: World, subtests: pytest.Subtests) -> None:
    for operation, door in DOORS.items():
        with subtests.test(operation=operation):
            made = door.make(world) if door.make else {}
            rows = audit_rows(world)
            answer = _call(world, door, operation[0], operation[1].format(**made), world.owner)
            assert answer.status_code == expected(door, Role.CLIENT, own=True), answer.text
            assert audit_rows(world) == rows


READING = {("post", "/v1/verify")}
"""A file is sent to be looked at, and not kept."""


def test_a_viewer_changes_nothing_of_others(world: World, subtests: pytest.Subtests) -> None:
    """Said once more without the table: no operation but GET and those that only read does anything for a viewer."""
    viewer = world.others[Role.VIEWER]
    for operation, door in DOORS.items():
        if operation[0] == "get" or operation in READING:
            continue
        with subtests.test(operation=operation):
            answer, _ = attempt(world, door, operation, viewer)
            assert answer.status_code == 403


def test_what_is_listed_for_a_client_names_nothing_of_another(world: World, subtests: pytest.Subtests) -> None:
    # Given a thing of every kind
    things = {world.succeeded()["job_id"], world.queued()["job_id"], *world.artifact().values()}
    things |= {*world.upload().values(), *world.delivery().values(), str(world.owner.client_id)}
    stranger = world.others[Role.CLIENT]
    # When another client reads every list that there is
    for method, path in DOORS:
        if method != "get" or "{" in path:
            continue
        with subtests.test(path=path):
            text = stranger.get(path).text
            assert not {thing for thing in things if thing in text}
    assert stranger.get("/v1/jobs").json["items"] == []
    assert stranger.get("/v1/webhooks").json["items"] == []


def test_the_documents_404_says_nothing_of_what_there_is(world: World) -> None:
    """Another's thing, and one that never was: the same answer but for the address."""
    stranger = world.others[Role.CLIENT]
    for operation, door in DOORS.items():
        if not door.owned or Role.CLIENT not in door.roles:
            continue
        made = door.make(world) if door.make else {}
        nothing = dict.fromkeys(made, "00000000-0000-7000-8000-000000000000")
        answers = []
        for parameters in (made, nothing):
            path = operation[1].format(**parameters)
            document = _call(world, door, operation[0], path, stranger).json
            text = str({name: value for name, value in document.items() if name not in {"instance", "request_id"}})
            for value in parameters.values():
                text = text.replace(value, "ID")
            answers.append(text)
        assert answers[0] == answers[1], operation


# --- ids of others in bodies, queries and headers -----------------------------------------------------------------


def test_a_cursor_of_another_client_leads_into_ones_own_list(world: World) -> None:
    for _ in range(3):
        world.queued()
    cursor = (world.owner.get("/v1/jobs?limit=1").json or {})["cursor"]
    stranger = world.others[Role.CLIENT]
    own = stranger.submit()["id"]
    page = stranger.get(f"/v1/jobs?cursor={cursor}").json
    assert {item["id"] for item in page["items"]} <= {own}


def test_a_webhooks_cursor_of_another_client_leads_into_ones_own_list(world: World) -> None:
    hook = world.webhook()["webhook_id"]
    stranger = world.others[Role.CLIENT]
    assert stranger.get(f"/v1/webhooks?cursor={hook}").json["items"] == []


def test_filters_do_not_reach_others(world: World) -> None:
    world.owner.submit(tag="secret-tag")
    stranger = world.others[Role.CLIENT]
    for query in ("tag=secret-tag", "state=queued", "task=text_to_image", "checkpoint=tiny"):
        assert stranger.get(f"/v1/jobs?{query}").json["items"] == []


def test_an_idempotency_key_of_another_client_is_ones_own(world: World) -> None:
    from tests.api.conftest import PROMPT

    headers = {"Idempotency-Key": "the-same"}
    ours = world.owner.post("/v1/jobs", PROMPT, headers=headers)
    theirs = world.others[Role.CLIENT].post("/v1/jobs", PROMPT, headers=headers)
    assert theirs.status_code == 202
    assert "Idempotency-Replayed" not in theirs.headers
    assert ours.json["id"] != theirs.json["id"]
    # Another body under the same key is no conflict either, and says nothing of the first.
    other = world.others[Role.ADMIN].post("/v1/jobs", {**PROMPT, "tag": "x"}, headers={"Idempotency-Key": "again"})
    assert other.status_code == 202


def test_last_event_id_of_another_stream_shows_nothing_of_it(world: World) -> None:
    theirs = world.succeeded()["job_id"]
    text = world.owner.get(f"/v1/jobs/{theirs}/events").text
    last = re.findall(r"^id: (\d+)$", text, re.MULTILINE)[-1]
    stranger = world.others[Role.CLIENT]
    job = stranger.submit()["id"]
    stranger.post(f"/v1/jobs/{job}/cancel")
    seen = stranger.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(int(last) - 1)}).text
    assert theirs not in seen
    assert job in seen


def test_a_redelivery_takes_no_delivery_of_another_webhook(world: World) -> None:
    theirs = world.delivery()
    stranger = world.others[Role.CLIENT]
    own = (stranger.post("/v1/webhooks", {"url": "https://example.com/own"}).json or {})["id"]
    before = world.fingerprint()
    answer = stranger.post(f"/v1/webhooks/{own}/deliveries/{theirs['delivery_id']}/redeliver")
    assert answer.status_code == 404
    assert world.fingerprint() == before


def test_no_body_field_names_another_client(world: World, subtests: pytest.Subtests) -> None:
    """Ids that a body might smuggle in are unknown fields; every schema refuses those."""
    from tests.api.conftest import PROMPT

    stranger = world.others[Role.CLIENT]
    job = world.succeeded()["job_id"]
    for name, value in {
        "client_id": str(world.owner.client_id),
        "client": "owner",
        "source_job_id": job,
        "webhook_endpoint_id": job,
        "id": job,
    }.items():
        with subtests.test(field=name):
            assert stranger.post("/v1/jobs", {**PROMPT, name: value}).status_code == 422
            assert stranger.get(f"/v1/jobs?{name}={value}").status_code == 422


@pytest.fixture
def limited(app_settings: Settings) -> Iterator[Flask]:
    app = create_app(app_settings.model_copy(update={"rate_limit": "2 per minute"}))
    yield app
    services_of(app).close()


def test_refused_requests_count_as_well(limited: Flask, seed: Seeder) -> None:
    """Looking for ids of others is as limited as anything else."""
    client_id = seed.client()
    caller = Caller(limited, seed.key(client_id), client_id)
    path = "/v1/jobs/00000000-0000-7000-8000-000000000000"
    assert [caller.get(path).status_code for _ in range(3)] == [404, 404, 429]
