"""What a job may ask for: its priority, and how much work it is."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from api.app import create_app
from api.services import services_of
from models.clients import Client
from models.session import Sessions
from models.settings import Settings
from models.states import Role
from tests.api.conftest import PROMPT, Caller
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder

WORK = {"prompt": "a cat", "width": 128, "height": 64, "num_inference_steps": 10, "num_images": 2}
WORK_FIELDS = {f"/params/{name}" for name in ("width", "height", "num_inference_steps", "num_images")}


@pytest.fixture
def narrow(app_settings: Settings, seed: Seeder) -> Iterator[Caller]:
    """A caller of an application that takes 0.1 million pixel-steps a job."""
    app = create_app(app_settings.model_copy(update={"max_job_megapixel_steps": 0.1}))
    seed.checkpoint()
    client_id = seed.client()
    yield Caller(app, seed.key(client_id), client_id)
    services_of(app).close()


def wrong_fields(document: dict[str, Any]) -> dict[str, str]:
    return {entry["pointer"]: entry["code"] for entry in document["errors"]}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs?dry_run=true"])
def test_a_client_asks_for_no_more_priority_than_it_was_given(caller: Caller, path: str) -> None:
    answer = caller.post(path, {**PROMPT, "priority": 1})
    document = assert_problem(answer, 422, "validation_failed")
    assert wrong_fields(document) == {"/priority": "priority_not_allowed"}
    assert caller.post(path, {**PROMPT, "priority": 0}).status_code in {200, 202}
    assert caller.post(path, {**PROMPT, "priority": -100}).status_code in {200, 202}
    assert caller.get("/v1/me").json["max_priority"] == 0


def test_a_client_may_use_what_an_admin_gave_it(app: Any, seed: Seeder) -> None:
    seed.checkpoint()
    client_id = seed.client(max_priority=7)
    caller = Caller(app, seed.key(client_id), client_id)
    assert caller.submit(priority=7)["priority"] == 7
    assert caller.post("/v1/jobs", {**PROMPT, "priority": 8}).status_code == 422
    assert caller.get("/v1/me").json["max_priority"] == 7


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_operators_and_admins_may_ask_for_any_priority(callers: dict[Role, Caller], seed: Seeder, role: Role) -> None:
    seed.checkpoint()
    assert callers[role].submit(priority=100)["priority"] == 100


def test_a_copy_keeps_no_priority_that_its_client_has_lost(favoured: Caller, sessions: Sessions) -> None:
    # Given a canceled job of priority 50, whose client may ask for 3 by now
    job = favoured.submit(priority=50)
    favoured.post(job["urls"]["cancel"])
    with sessions.begin() as session:
        session.execute(update(Client).where(Client.id == favoured.client_id).values(max_priority=3))
    favoured.app.extensions["safelight.keys"].forget()
    # When it is repeated, then the copies fall back to what is allowed, and only an explicit wish is refused
    assert favoured.post(job["urls"]["retry"]).json["priority"] == 3
    clone = f"{job['urls']['self']}/clone"
    assert favoured.post(clone).json["priority"] == 3
    assert_problem(favoured.post(clone, {"priority": 50}), 422, "validation_failed")


def test_size_steps_and_images_are_bounded_together(narrow: Caller) -> None:
    # 128 × 64 × 10 × 2 = 0.16 million, though the checkpoint allows each of the four.
    for path in ("/v1/jobs", "/v1/jobs?dry_run=true"):
        document = assert_problem(narrow.post(path, {**PROMPT, "params": WORK}), 422, "validation_failed")
        assert wrong_fields(document) == dict.fromkeys(WORK_FIELDS, "too_much_work")
    assert narrow.post("/v1/jobs", {**PROMPT, "params": {**WORK, "num_images": 1}}).status_code == 202


def test_defaults_count_as_work_too(narrow: Caller) -> None:
    """64 × 64 × 4 steps are the checkpoint's own: four pictures of them fit, and a hundred steps do not."""
    assert narrow.post("/v1/jobs", {**PROMPT, "params": {"prompt": "a cat", "num_images": 4}}).status_code == 202
    many = {"prompt": "a cat", "num_inference_steps": 100}
    assert_problem(narrow.post("/v1/jobs", {**PROMPT, "params": many}), 422, "validation_failed")


def test_one_answer_names_everything_that_is_too_much(narrow: Caller) -> None:
    document = assert_problem(
        narrow.post("/v1/jobs", {**PROMPT, "params": WORK, "priority": 9}), 422, "validation_failed"
    )
    assert set(wrong_fields(document)) == WORK_FIELDS | {"/priority"}
