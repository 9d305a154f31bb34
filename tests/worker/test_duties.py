"""The sweeper's duties, one by one, and how it sweeps."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from models.artifacts import TRAINING_PREFIX, Upload, training_key
from models.checkpoints import Source
from models.jobs import Output, cancel, publish
from models.queue import connect_redis, make_celery
from models.session import Sessions
from models.settings import Settings
from models.states import JobState, Pool
from models.storage import Storage
from models.workers import say_alive
from tests.seeding import Seeder
from worker import duties
from worker.duties import Sweep
from worker.sweeper import Duty, Sweeper


@pytest.fixture
def sweep(settings: Settings, sessions: Sessions, storage: Storage) -> Sweep:
    celery = make_celery(settings, worker=False)
    return Sweep(settings, sessions, storage, connect_redis(settings), celery)


def age(sessions: Sessions, table: str, column: str, seconds: float = 999_999) -> None:
    with sessions.begin() as session:
        session.execute(text(f"UPDATE {table} SET {column} = now() - make_interval(secs => {seconds})"))  # noqa: S608


def test_reap_requeues_lost_jobs_beyond_one_page(
    sweep: Sweep, seed: Seeder, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.jobs.sweep.BATCH_ROWS", 2)
    client, checkpoint = seed.client(), seed.checkpoint()
    jobs = [seed.job(client, checkpoint) for _ in range(5)]
    seed.claim()
    assert duties.reap(sweep) == 0
    age(sessions, "jobs", "lease_expires_at", 1)
    assert duties.reap(sweep) == 5
    assert {seed.read(job).state for job in jobs} == {JobState.QUEUED}


def test_expire_ends_overdue_jobs(sweep: Sweep, seed: Seeder, sessions: Sessions) -> None:
    job = seed.job(seed.client(), seed.checkpoint(), deadline_seconds=60)
    assert duties.expire(sweep) == 0
    age(sessions, "jobs", "deadline_at", 1)
    assert duties.expire(sweep) == 1
    assert seed.read(job).state is JobState.EXPIRED


def test_tickets_go_to_pools_where_work_waits_and_do_not_pile_up(sweep: Sweep, seed: Seeder) -> None:
    assert duties.send_tickets(sweep) == 0
    seed.job(seed.client(), seed.checkpoint(pool=Pool.CPU))
    assert duties.send_tickets(sweep) == 1
    sweep.redis.delete("safelight:ticket:cpu")
    assert duties.send_tickets(sweep) == 0
    assert (sweep.redis.llen("cpu"), sweep.redis.llen("gpu")) == (1, 0)


def published(seed: Seeder, sessions: Sessions, storage: Storage) -> tuple[UUID, str]:
    job = seed.job(seed.client(), seed.checkpoint())
    (claimed,) = seed.claim()
    key = f"results/{job}/a1/0-x.png"
    storage.put(key, b"x", "image/png")
    with sessions.begin() as session:
        publish(session, claimed.hold, [Output(0, key, "x", "image/png", 1, 1, 1, 1)], {})
    return job, key


def exists(storage: Storage, key: str) -> bool:
    return any(blob.key == key for blob in storage.listing(key))


def test_results_go_after_their_retention(sweep: Sweep, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    job, key = published(seed, sessions, storage)
    assert duties.delete_results(sweep) == 0
    age(sessions, "jobs", "results_expire_at", 1)
    assert duties.delete_results(sweep) == 1
    assert not exists(storage, key)
    assert seed.read(job).state is JobState.SUCCEEDED
    assert duties.delete_results(sweep) == 0


def test_uploads_go_when_they_expire(sweep: Sweep, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    storage.put("uploads/u.png", b"x", "image/png")
    facts: dict[str, Any] = {"sha256": "x", "media_type": "image/png", "size_bytes": 1, "width": 1, "height": 1}
    with sessions.begin() as session:
        session.add(Upload(client_id=seed.client(), key="uploads/u.png", **facts))
    assert duties.delete_uploads(sweep) == 0
    age(sessions, "uploads", "expires_at", 1)
    assert duties.delete_uploads(sweep) == 1
    assert not exists(storage, "uploads/u.png")


def test_garbage_is_what_is_old_and_has_no_row(
    sweep: Sweep, seed: Seeder, sessions: Sessions, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kept = published(seed, sessions, storage)
    orphan = f"results/{kept.split('/')[1]}/a0/0-lost.png"
    storage.put(orphan, b"x", "image/png")
    assert duties.collect_garbage(sweep) == 0
    monkeypatch.setattr(duties, "GARBAGE_AGE", timedelta(days=-1))
    monkeypatch.setattr(duties, "PAGE_KEYS", 1)
    assert duties.collect_garbage(sweep) >= 1
    assert exists(storage, kept)
    assert not exists(storage, orphan)


def test_files_of_checkpoints_stay_while_their_row_does(
    sweep: Sweep, seed: Seeder, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a trained checkpoint, one of a lost attempt, and one put there by hand, when swept, then the lost goes."""
    trained, lost = f"checkpoints/{uuid4()}/a2", f"checkpoints/{uuid4()}/a1"
    seed.checkpoint("mine", source=Source.S3, location=trained)
    keys = [f"{trained}/model.safetensors", f"{trained}/deep/er.json", "checkpoints/by-hand/model.safetensors"]
    for key in (*keys, f"{lost}/model.safetensors", f"{trained}1/model.safetensors"):
        storage.put(key, b"x", "application/octet-stream")
    assert duties.collect_garbage(sweep) == 0
    monkeypatch.setattr(duties, "GARBAGE_AGE", timedelta(days=-1))
    monkeypatch.setattr(duties, "PAGE_KEYS", 2)
    assert duties.collect_garbage(sweep) >= 2
    assert all(exists(storage, key) for key in keys)
    assert not exists(storage, f"{lost}/model.safetensors")
    assert not exists(storage, f"{trained}1/model.safetensors")


def test_shelves_are_emptied_when_their_job_has_ended(
    sweep: Sweep, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    live = seed.job(seed.client(), seed.checkpoint())
    ended, gone = seed.job(seed.client(), seed.checkpoint("other")), uuid4()
    with sessions.begin() as session:
        assert cancel(session, ended)
    for job_id, step in itertools.product((live, ended, gone), (5, 6)):
        storage.put(training_key(job_id, 1, step, "0" * 64), b"state", "application/octet-stream")
    assert duties.empty_shelves(sweep) >= 4
    left = {blob.key for blob in storage.listing(TRAINING_PREFIX)}
    assert left == {training_key(live, 1, step, "0" * 64) for step in (5, 6)}
    assert duties.empty_shelves(sweep) == 0


def test_idempotency_keys_are_forgotten(sweep: Sweep, seed: Seeder, sessions: Sessions) -> None:
    job = seed.job(seed.client(), seed.checkpoint(), idempotency_key="k", request_sha256=b"x")
    assert duties.forget_keys(sweep) == 0
    age(sessions, "jobs", "created_at")
    assert duties.forget_keys(sweep) == 1
    assert seed.read(job).idempotency_key is None


def test_dead_workers_are_forgotten(sweep: Sweep, sessions: Sessions) -> None:
    with sessions.begin() as session:
        say_alive(session, name="w", pool=Pool.GPU, host="h", pid=1, device="cpu", resident=[], info={})
    assert duties.forget_workers(sweep) == 0
    age(sessions, "workers", "seen_at")
    assert duties.forget_workers(sweep) == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_failing_duty_stops_no_other_and_each_has_its_period(sweep: Sweep) -> None:
    done: list[str] = []
    clock = Clock()

    def note(name: str) -> int:
        done.append(name)
        return 1

    def break_down(_: Sweep) -> int:
        raise RuntimeError("broken")

    listed = (
        Duty("broken", break_down),
        Duty("often", lambda _: note("often")),
        Duty("rare", lambda _: note("rare"), 60),
    )
    sweeper = Sweeper(sweep, listed, clock)
    sweeper.sweep_once()
    clock.now = 30
    sweeper.sweep_once()
    clock.now = 61
    sweeper.sweep_once()
    assert done == ["often", "rare", "often", "often", "rare"]


def test_forget_webhooks_clears_the_log_beyond_one_page(
    sweep: Sweep, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.webhooks.log.BATCH_ROWS", 2)
    add = "INSERT INTO webhook_messages (id, kind, payload) SELECT uuidv7(:age), :kind, '{}' FROM generate_series(1, 5)"
    with sessions.begin() as session:
        for kind, days in (("old", -31), ("young", -29)):
            session.execute(text(add), {"kind": kind, "age": timedelta(days=days)})
    assert duties.forget_webhooks(sweep) == 5
    with sessions() as session:
        assert session.scalars(text("SELECT kind FROM webhook_messages")).all() == ["young"] * 5


def test_leases_are_not_reaped_until_postgres_was_there_for_one(sweep: Sweep) -> None:
    done: list[float] = []
    clock = Clock()
    reap = Duty("reap", lambda _: done.append(clock.now) or 0, needs_steady_postgres=True)
    sweeper = Sweeper(sweep, (reap,), clock)
    for clock.now in (0.0, 59.0, 60.0):
        sweeper.sweep_once()
    assert done == [60.0]

    sweeper._postgres_started = "another start"  # Postgres was restarted between two sweeps
    for clock.now in (70.0, 129.0, 130.0):
        sweeper.sweep_once()
    assert done == [60.0, 130.0]


def test_reaping_again_after_an_outage_waits_for_a_lease(sweep: Sweep, engine: Any) -> None:
    from sqlalchemy import create_engine

    from models.session import make_sessions

    clock = Clock()
    done: list[float] = []
    reap = Duty("reap", lambda _: done.append(clock.now) or 0, needs_steady_postgres=True)
    sweeper = Sweeper(sweep, (reap,), clock)
    sweeper.sweep_once()
    away = make_sessions(create_engine("postgresql+psycopg://nobody@127.0.0.1:9/x"))
    there = sweeper.sweep
    sweeper.sweep = Sweep(there.settings, away, there.storage, there.redis, there.celery)
    clock.now = 100.0
    sweeper.sweep_once()
    sweeper.sweep = there
    for clock.now in (110.0, 169.0, 170.0):
        sweeper.sweep_once()
    assert done == [170.0]
