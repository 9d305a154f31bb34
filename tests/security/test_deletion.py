"""Deleting a job: everything of it once it has ended, and nothing of anybody else's."""

from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from api.app import create_app
from api.services import services_of
from models.errors import NotFoundError
from models.jobs import delete_expired_results, delete_final
from models.queue import connect_redis, make_celery
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import free_port, succeed
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder
from worker import duties
from worker.duties import Sweep

TABLES = ("attempts", "artifacts", "job_events", "webhook_messages")


def rows_of(sessions: Sessions, job_id: str) -> dict[str, int]:
    """How many rows speak of a job."""
    with sessions() as session:
        return {
            table: session.scalar(text(f"SELECT count(*) FROM {table} WHERE job_id = :job"), {"job": job_id}) or 0  # noqa: S608
            for table in TABLES
        }


def keys_of(sessions: Sessions, job_id: str) -> list[str]:
    with sessions() as session:
        return list(session.scalars(text("SELECT key FROM artifacts WHERE job_id = :job"), {"job": job_id}))


def is_there(storage: Storage, key: str) -> bool:
    try:
        storage.get(key)
    except NotFoundError:
        return False
    return True


def test_everything_of_a_job_goes_and_its_copy_stays(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    # Given a job with an artifact, events, an attempt, a webhook's message, and a copy
    caller.post("/v1/webhooks", {"url": "https://example.com/hook"})
    job = caller.submit()
    succeed(seed, sessions, storage)
    other = caller.submit()
    succeed(seed, sessions, storage)
    copy = caller.post(f"{job['urls']['self']}/clone").json
    assert all(rows_of(sessions, job["id"]).values())
    (key,), (kept,) = keys_of(sessions, job["id"]), keys_of(sessions, other["id"])
    # When it is deleted
    answer = caller.delete(job["urls"]["self"])
    # Then nothing is left of it, and everything else is
    assert (answer.status_code, answer.data) == (204, b"")
    assert rows_of(sessions, job["id"]) == dict.fromkeys(TABLES, 0)
    assert not is_there(storage, key)
    assert is_there(storage, kept)
    assert all(rows_of(sessions, other["id"]).values())
    assert caller.get(job["urls"]["self"]).status_code == 404
    assert caller.delete(job["urls"]["self"]).status_code == 404
    assert caller.get(copy["urls"]["self"]).json["source_job_id"] is None


def test_a_live_job_is_not_deleted_and_the_answer_says_what_to_do(caller: Caller, seed: Seeder) -> None:
    queued, running = caller.submit(priority=-1), caller.submit()
    seed.claim(max_images=1)
    for job, state in ((queued, "queued"), (running, "running")):
        document = assert_problem(caller.delete(job["urls"]["self"]), 409, "conflict")
        assert document["state"] == state
        assert "cancel it first" in document["detail"]
        assert caller.get(job["urls"]["self"]).json["state"] == state


def test_an_idempotency_key_is_free_again_after_its_job(caller: Caller) -> None:
    headers = {"Idempotency-Key": "k"}
    job = caller.post("/v1/jobs", PROMPT, headers=headers).json
    caller.post(job["urls"]["cancel"])
    assert caller.delete(job["urls"]["self"]).status_code == 204
    again = caller.post("/v1/jobs", PROMPT, headers=headers)
    assert again.status_code == 202
    assert again.json["id"] != job["id"]


def test_what_s3_did_not_delete_is_collected(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A crash between the commit and S3 leaves the same: an object that no row names."""
    # Given a job whose rows are deleted while S3 is away
    job = caller.submit()
    succeed(seed, sessions, storage)
    (key,) = keys_of(sessions, job["id"])
    lame = create_app(settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{free_port()}"}))
    try:
        assert Caller(lame, caller.key, caller.client_id).delete(job["urls"]["self"]).status_code == 204
    finally:
        services_of(lame).close()
    assert is_there(storage, key)
    # When the sweeper collects what is old enough
    monkeypatch.setattr(duties, "GARBAGE_AGE", timedelta(seconds=-60))
    with connect_redis(settings) as connection:
        celery = make_celery(settings, worker=False)
        assert duties.collect_garbage(Sweep(settings, sessions, storage, connection, celery)) >= 1
        celery.close()
    # Then it is gone
    assert not is_there(storage, key)


def test_a_rolled_back_deletion_keeps_everything(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    job = caller.submit()
    succeed(seed, sessions, storage)
    before = rows_of(sessions, job["id"])
    with sessions() as session:
        assert delete_final(session, UUID(job["id"]))
        session.rollback()
    assert rows_of(sessions, job["id"]) == before
    assert caller.get(job["urls"]["result"]).status_code == 302


def test_the_owner_and_the_sweeper_may_delete_at_once(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    """Neither waits for the other for ever, and each object is told of by one of them."""
    for _ in range(8):
        job = caller.submit()
        succeed(seed, sessions, storage)
        (key,) = keys_of(sessions, job["id"])
        with sessions.begin() as session:
            session.execute(text("UPDATE jobs SET results_expire_at = now() WHERE id = :id"), {"id": job["id"]})
        told: list[str] = []

        def run(verb: Callable[[Any], Any], told: list[str] = told) -> None:
            with sessions.begin() as session:
                told.extend(verb(session) or ())

        job_id = UUID(job["id"])
        threads = [
            Thread(target=run, args=(verb,))
            for verb in (delete_expired_results, lambda session, job_id=job_id: delete_final(session, job_id))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert told == [key]


def test_a_quota_holds_under_submits_at_once(caller: Caller, seed: Seeder, sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(text("UPDATE clients SET max_live_jobs = 5 WHERE id = :id"), {"id": caller.client_id})
    statuses: list[int] = []
    threads = [Thread(target=lambda: statuses.append(caller.post("/v1/jobs", PROMPT).status_code)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [202] * 5 + [429] * 15
    assert caller.get("/v1/me").json["live_jobs"] == 5
