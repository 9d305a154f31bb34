"""POST, GET and the changes of a job."""

import time
import uuid

import httpx
import pytest
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.services import services_of
from models.checkpoints import Checkpoint
from models.progress import Progress, ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import eventually, free_port, hear_of_a_worker, succeed
from tests.seeding import PROFILE, Seeder


def test_a_submitted_job_is_queued_and_says_where_it_stands(caller: Caller, seed: Seeder) -> None:
    caller.submit()
    answer = caller.post("/v1/jobs", {**PROMPT, "tag": "demo", "priority": 0, "retention_days": 3})
    assert answer.status_code == 202
    body = answer.json
    assert body is not None
    assert answer.headers["Location"] == body["urls"]["self"] == f"/v1/jobs/{body['id']}"
    assert body["state"] == "queued"
    assert body["queue"] == {"position": 1, "position_capped": False, "eta_seconds": None}
    assert body["params"] == {
        "num_images": 1, "seed": 7, "output_format": "png", "prompt": "a cat", "negative_prompt": "", "width": 64,
        "height": 64, "num_inference_steps": 4, "guidance_scale": 7.5, "scheduler": "default", "loras": [],
    }  # fmt: skip
    assert (body["tag"], body["lane"], body["checkpoint"]["name"]) == ("demo", "interactive", "tiny")
    assert "attempts" not in body
    assert seed.read(uuid.UUID(body["id"])).retention_seconds == 3 * 86_400


def test_reading_a_job_shows_attempts_artifacts_and_times(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    job = caller.submit()
    succeed(seed, sessions, storage)
    body = caller.get(job["urls"]["self"]).json
    assert body is not None
    assert (body["state"], body["queue"], body["progress"], body["error"]) == ("succeeded", None, None, None)
    (attempt,) = body["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["measures"]) == (1, "succeeded", {"run_seconds": 0.5})
    (artifact,) = body["artifacts"]
    assert artifact["url"] == f"/v1/artifacts/{artifact['id']}/content"
    assert body["finished_at"] is not None
    assert body["results_expire_at"] > body["finished_at"]


def test_the_result_redirects_to_the_bytes(caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    job = caller.submit()
    early = caller.get(job["urls"]["result"])
    assert (early.status_code, early.json["code"]) == (409, "conflict")  # type: ignore[index]
    succeed(seed, sessions, storage)
    answer = caller.get(job["urls"]["result"])
    assert answer.status_code == 302
    picture = httpx.get(answer.headers["Location"])
    assert (picture.content, picture.headers["content-type"]) == (b"picture", "image/png")
    artifact = caller.get(job["urls"]["self"]).json["artifacts"][0]  # type: ignore[index]
    assert httpx.get(caller.get(artifact["url"]).headers["Location"]).content == b"picture"
    assert caller.get(f"/v1/artifacts/{artifact['id']}").json["job_id"] == job["id"]  # type: ignore[index]


def test_several_pictures_are_listed_and_none_of_them_is_an_end(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    job = caller.submit(params={"prompt": "a cat", "num_images": 2})
    succeed(seed, sessions, storage, images=2)
    answer = caller.get(job["urls"]["result"])
    assert answer.status_code == 200
    assert [item["index"] for item in answer.json["items"]] == [0, 1]
    with sessions.begin() as session:
        session.execute(text("DELETE FROM artifacts"))
        session.execute(text("UPDATE jobs SET results_deleted_at = now()"))
    assert (caller.get(job["urls"]["result"]).status_code, caller.get("/v1/jobs").status_code) == (410, 200)


def test_the_same_idempotency_key_gives_the_same_job_and_another_body_is_refused(caller: Caller) -> None:
    headers = {"Idempotency-Key": "order 12"}
    first = caller.post("/v1/jobs", PROMPT, headers=headers)
    # The order of a body's keys is no difference.
    again = caller.post("/v1/jobs", dict(reversed(PROMPT.items())), headers=headers)
    other = caller.post("/v1/jobs", {**PROMPT, "tag": "x"}, headers=headers)
    assert first.json["id"] == again.json["id"]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert first.json == again.json
    assert (other.status_code, other.json["code"], other.json["job_id"]) == (
        422,
        "idempotency_key_reused",
        first.json["id"],
    )


def test_a_key_that_cannot_be_a_header_is_refused(caller: Caller) -> None:
    answer = caller.post("/v1/jobs", PROMPT, headers={"Idempotency-Key": "k" * 256})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/Idempotency-Key")


def test_a_full_quota_is_429_with_retry_after_and_charges_nothing(app: Flask, seed: Seeder) -> None:
    seed.checkpoint()
    client_id = seed.client(max_live_jobs=1)
    caller = Caller(app, seed.key(client_id), client_id)
    job = caller.submit()
    refused = caller.post("/v1/jobs", PROMPT)
    assert (refused.status_code, refused.json["code"], refused.json["limit"]) == (429, "quota_exceeded", 1)
    assert int(refused.headers["Retry-After"]) > 0
    assert caller.get("/v1/me").json["live_jobs"] == 1
    assert caller.post(job["urls"]["cancel"]).json["state"] == "canceled"
    caller.submit()


def test_a_dry_run_prices_a_job_and_says_that_nobody_would_run_it(
    caller: Caller, seed: Seeder, sessions: Sessions
) -> None:
    answer = caller.post("/v1/jobs?dry_run=true", PROMPT)
    assert answer.status_code == 200
    body = answer.json
    assert (body["cost"], body["servable"], body["live_workers"], body["eta_seconds"]) == (8, False, 0, None)
    assert "gpu" in body["reason"]
    assert caller.get("/v1/jobs").json["items"] == []
    hear_of_a_worker(sessions)
    time.sleep(1.1)  # the number of workers is remembered for a second
    body = caller.post("/v1/jobs?dry_run=true", PROMPT).json
    assert (body["servable"], body["live_workers"], body["reason"]) == (True, 1, None)


def test_the_eta_shares_what_is_ahead_between_the_workers(caller: Caller, sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(update(Checkpoint).values(seconds_per_step=0.5))
    hear_of_a_worker(sessions, "one")
    hear_of_a_worker(sessions, "two")
    first, second = caller.submit(), caller.submit()
    assert first["queue"]["eta_seconds"] == 8 * 0.5
    assert second["queue"]["eta_seconds"] == (8 / 2 + 8) * 0.5


def test_the_place_in_the_queue_follows_the_order_of_the_claim(favoured: Caller, seed: Seeder) -> None:
    bulk = favoured.submit(lane="bulk", priority=100)
    plain = favoured.submit()
    urgent = favoured.submit(priority=5)
    places = {job["id"]: favoured.get(job["urls"]["self"]).json["queue"]["position"] for job in (bulk, plain, urgent)}
    assert places == {urgent["id"]: 0, plain["id"]: 1, bulk["id"]: 2}
    claimed = [str(seed.claim(max_images=1)[0].job_id) for _ in range(3)]
    assert claimed == [urgent["id"], plain["id"], bulk["id"]]


def test_progress_and_preview_of_the_attempt_that_runs(caller: Caller, seed: Seeder, settings: Settings) -> None:
    job = caller.submit()
    job_id = uuid.UUID(job["id"])
    board = ProgressBoard(connect_redis(settings))
    assert caller.get(job["urls"]["preview"]).status_code == 404
    seed.claim()
    board.put({job_id: Progress(9, "running", 1, 4)})
    assert caller.get(job["urls"]["self"]).json["progress"] is None
    board.put({job_id: Progress(1, "running", 2, 4, 1)}, {job_id: b"\x89PNG"})
    shown = {"phase": "running", "step": 2, "total_steps": 4, "preview": 1}
    assert caller.get(job["urls"]["self"]).json["progress"] == shown
    assert caller.get("/v1/jobs").json["items"][0]["progress"] == shown
    preview = caller.get(job["urls"]["preview"])
    assert (preview.data, preview.mimetype) == (b"\x89PNG", "image/png")


def test_canceling_ends_a_queued_job_and_asks_a_running_one(caller: Caller, seed: Seeder) -> None:
    running, queued = caller.submit(), caller.submit()
    seed.claim(max_images=1)
    assert caller.post(queued["urls"]["cancel"]).json["state"] == "canceled"
    asked = caller.post(running["urls"]["cancel"])
    assert (asked.json["state"], asked.json["cancel_requested"]) == ("running", True)
    again = caller.post(queued["urls"]["cancel"])
    assert (again.status_code, again.json["state"]) == (409, "canceled")


def test_a_retry_is_a_new_job_with_the_same_params(favoured: Caller) -> None:
    job = favoured.submit(tag="demo", priority=3, deadline_seconds=500.0)
    assert favoured.post(job["urls"]["retry"]).status_code == 409
    favoured.post(job["urls"]["cancel"])
    headers = {"Idempotency-Key": "again"}
    retried, replayed = (favoured.post(job["urls"]["retry"], headers=headers) for _ in range(2))
    assert retried.status_code == 202
    body = retried.json
    assert body["id"] == replayed.json["id"] != job["id"]
    assert body["source_job_id"] == job["id"]
    for name in ("params", "tag", "priority", "lane", "checkpoint"):
        assert body[name] == job[name]
    assert body["deadline_at"] > job["deadline_at"]


def test_a_clone_takes_changes_and_null_asks_for_the_default(caller: Caller, seed: Seeder) -> None:
    seed.checkpoint("other")
    job = caller.submit(params={"prompt": "a cat", "num_inference_steps": 2, "seed": 7})
    clone = caller.post(
        f"{job['urls']['self']}/clone",
        {"params": {"prompt": "a dog", "num_inference_steps": None, "seed": None}, "checkpoint": "other", "tag": "t"},
    )
    assert clone.status_code == 202, clone.text
    assert clone.json["params"]["prompt"] == "a dog"
    assert clone.json["params"]["num_inference_steps"] == 4
    assert clone.json["params"]["seed"] != 7
    assert (clone.json["checkpoint"]["name"], clone.json["tag"]) == ("other", "t")
    assert caller.post(f"{job['urls']['self']}/clone").json["params"] == job["params"]
    wrong = caller.post(f"{job['urls']['self']}/clone", {"params": {"nope": 1}})
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "/params/nope")


def test_deleting_takes_the_row_and_the_objects(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    job = caller.submit()
    assert caller.delete(job["urls"]["self"]).status_code == 409
    job_id = succeed(seed, sessions, storage)
    assert [blob.key for blob in storage.listing(f"results/{job_id}/")]
    clone = caller.post(f"{job['urls']['self']}/clone").json
    assert caller.delete(job["urls"]["self"]).status_code == 204
    assert caller.get(job["urls"]["self"]).status_code == 404
    assert not list(storage.listing(f"results/{job_id}/"))
    assert caller.get(clone["urls"]["self"]).json["source_job_id"] is None


def test_a_new_job_sends_a_ticket_and_a_dead_redis_only_counts_a_failure(app_settings: Settings, seed: Seeder) -> None:
    seed.checkpoint()
    dead = create_app(app_settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    client_id = seed.client()
    caller = Caller(dead, seed.key(client_id), client_id)
    services = services_of(dead)
    try:
        for _ in range(3):
            job = caller.submit()
        assert caller.get(job["urls"]["self"]).status_code == 200
        eventually(lambda: services.tickets.failures > 0)
        assert "safelight_ticket_failures_total" in caller.get("/metrics").text
        ready = caller.get("/v1/health/ready")
        assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    finally:
        services.close()


def test_a_job_that_was_taken_is_never_answered_with_an_error(
    caller: Caller, seed: Seeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    with monkeypatch.context() as patched:
        patched.setattr("api.jobs.submitting.queue_view", away)
        patched.setattr("api.jobs.routes.wait_until_final", away)
        answer = caller.post("/v1/jobs", PROMPT, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.json["queue"], answer.json["state"]) == (202, None, "queued")
    assert caller.get(answer.headers["Location"]).json["queue"]["position"] == 0


def test_a_replay_is_answered_after_its_checkpoint_was_disabled(caller: Caller, sessions: Sessions) -> None:
    first = caller.post("/v1/jobs", PROMPT, headers={"Idempotency-Key": "kept"}).json
    assert first is not None
    with sessions.begin() as session:
        session.execute(update(Checkpoint).values(enabled=False))
    services_of(caller.app).cards.forget()

    again = caller.post("/v1/jobs", PROMPT, headers={"Idempotency-Key": "kept"})
    assert again.json is not None
    assert (again.status_code, again.json["id"]) == (202, first["id"])
    assert caller.post("/v1/jobs", PROMPT).status_code == 422


def test_a_job_that_succeeded_is_reproduced_on_its_own_checkpoint(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    """Even when the checkpoint has a newer revision by then; and only what has a result to compare with."""
    job = caller.submit(tag="mine", reproducible=True)
    assert caller.post(job["urls"]["reproduce"]).status_code == 409
    succeed(seed, sessions, storage)
    before = seed.read(uuid.UUID(job["id"]))
    seed.checkpoint(location="newer", profile=PROFILE.model_copy(update={"default_steps": 5}))

    answer = caller.post(job["urls"]["reproduce"], headers={"Idempotency-Key": "once"})
    again = caller.post(job["urls"]["reproduce"], headers={"Idempotency-Key": "once"})

    assert (answer.status_code, again.json["id"]) == (202, answer.json["id"])
    row = seed.read(uuid.UUID(answer.json["id"]))
    assert (row.checkpoint_id, row.batch_key, row.params) == (before.checkpoint_id, before.batch_key, before.params)
    assert (row.reproduces, row.source_job_id, row.reproducible, row.tag) == (True, before.id, True, "mine")
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET results_deleted_at = now()"))
    assert caller.post(job["urls"]["reproduce"]).status_code == 410
