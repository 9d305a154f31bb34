"""Whole workers as processes: tickets, batches, crashes, outages and drains."""

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import UUID

import psutil
import pytest
import redis
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from models.artifacts import Artifact
from models.events import JobEvent
from models.jobs import Attempt, CheckpointCard, cancel
from models.progress import ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.broken_line import Line
from tests.worker.conftest import Crew, until

SHORT = {"SAFELIGHT_LEASE_SECONDS": "2", "SAFELIGHT_SWEEP_SECONDS": "0.3"}


def attempts_of(sessions: Sessions, job: UUID) -> list[Attempt]:
    with sessions() as session:
        return list(session.scalars(select(Attempt).where(Attempt.job_id == job).order_by(Attempt.number)))


def events_of(sessions: Sessions, job: UUID) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(JobEvent.kind).where(JobEvent.job_id == job).order_by(JobEvent.id)))


def stored(sessions: Sessions, storage: Storage, *jobs: UUID) -> int:
    """How many artifacts the jobs have; every one of them must be in the bucket, whole."""
    with sessions() as session:
        found = session.scalars(select(Artifact).where(Artifact.job_id.in_(jobs))).all()
    for artifact in found:
        assert hashlib.sha256(storage.get(artifact.key)).hexdigest() == artifact.sha256
    return len(found)


def child_of(worker: "subprocess.Popen[bytes]") -> psutil.Process:
    """The pool child of a Celery worker: the process that has a courier."""
    main = psutil.Process(worker.pid)
    return next(child for child in main.children() if courier_of(child) is not None)


def courier_of(child: psutil.Process) -> psutil.Process | None:
    return next((process for process in child.children() if "worker.courier" in process.cmdline()), None)


def test_jobs_of_two_clients_run_together_and_their_pictures_are_stored(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage
) -> None:
    """Given two jobs that waited before any worker ran, when one starts, then it finds them by itself."""
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": "a cat", "num_images": 2}) for _ in range(2)]
    crew.worker()

    assert crew.finish(*jobs) == [JobState.SUCCEEDED] * 2
    assert stored(sessions, storage, *jobs) == 4
    for job in jobs:
        (attempt,) = attempts_of(sessions, job)
        assert attempt.batch_jobs == 2
        assert attempt.outcome is AttemptOutcome.SUCCEEDED
        assert attempt.measures["batch_images"] == 4
        assert events_of(sessions, job) == ["job.queued", "job.running", "job.succeeded"]


def test_a_killed_workers_job_ends_once_on_another(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage
) -> None:
    """Given a job in mid-run, when its worker is killed, then no orphan stays and a second worker ends it, once."""
    first = crew.worker(**SHORT)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 10})
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the start")
    family = psutil.Process(first.pid).children(recursive=True)
    assert any("worker.courier" in process.cmdline() for process in family)

    os.kill(first.pid, signal.SIGKILL)
    crew.sweeper(**SHORT)
    crew.worker(**SHORT)

    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert [entry.outcome for entry in attempts_of(sessions, job)] == [AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED]
    assert stored(sessions, storage, job) == 1
    assert events_of(sessions, job).count("job.succeeded") == 1
    psutil.wait_procs(family, timeout=15)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_flushed_redis_loses_no_job(crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard) -> None:
    """Given queued jobs whose tickets are gone, when the sweeper comes by, then the worker is woken again."""
    crew.worker()
    client = seed.client()
    job = seed.job(client, slow_checkpoint)
    redis.Redis.from_url(crew.settings.redis_url).flushall()
    assert crew.states(job) == [JobState.QUEUED]

    crew.sweeper(**SHORT)

    assert crew.finish(job) == [JobState.SUCCEEDED]


def stop_group(worker: "subprocess.Popen[bytes]") -> None:
    """As systemd does: every process of the group hears SIGTERM."""
    os.killpg(worker.pid, signal.SIGTERM)


def stop_twice(worker: "subprocess.Popen[bytes]") -> None:
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    worker.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("stop", "grace_seconds"),
    [
        (stop_group, "1"),
        pytest.param(stop_twice, "60", marks=pytest.mark.slow),
        pytest.param(lambda worker: worker.send_signal(signal.SIGQUIT), "60", marks=pytest.mark.slow, id="SIGQUIT"),
    ],
)
def test_a_stopped_worker_gives_back_what_it_cannot_finish(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
    stop: Callable[["subprocess.Popen[bytes]"], None],
    grace_seconds: str,
) -> None:
    """Given a batch that takes longer than the grace, when the worker is stopped, then its job is queued again at once.

    Asked a second time, or by SIGQUIT, it does not wait for the grace either.
    """
    worker = crew.worker(SAFELIGHT_DRAIN_SECONDS=grace_seconds)
    (name,) = crew.names()
    params = {"prompt": "step 0.1", "num_inference_steps": 150}
    job = seed.job(seed.client(), slow_checkpoint, params=params)
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the start")

    stop(worker)

    assert worker.wait(14) == 0
    assert crew.states(job) == [JobState.QUEUED]
    (attempt,) = attempts_of(sessions, job)
    assert attempt.outcome is AttemptOutcome.DRAINED
    assert name not in crew.names()


def test_a_drained_worker_finishes_what_is_nearly_done(
    crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard
) -> None:
    worker = crew.worker()
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 8})
    later = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the start")

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(15) == 0
    assert crew.states(job, later) == [JobState.SUCCEEDED, JobState.QUEUED]


def test_a_cancel_takes_effect_within_about_a_step(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a long lease, when the client cancels, then the run ends long before the next heartbeat."""
    crew.worker()
    params = {"prompt": "step 0.05", "num_inference_steps": 150}
    job = seed.job(seed.client(), slow_checkpoint, params=params)
    crew.ticket()
    board = ProgressBoard(connect_redis(crew.settings))
    until(lambda: (board.get([job]).get(job) or _NOTHING).step >= 3, what="progress")

    started = time.monotonic()
    with sessions.begin() as session:
        assert cancel(session, job)

    assert crew.finish(job) == [JobState.CANCELED]
    assert time.monotonic() - started < 1.0


class _Nothing:
    step = 0


_NOTHING = _Nothing()


def test_a_courier_killed_while_it_stores_publishes_once(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage
) -> None:
    """Given a stopped courier that holds pictures, when it is killed, then the next one stores and publishes them."""
    worker = crew.worker()
    child = child_of(worker)
    courier = courier_of(child)
    assert courier is not None
    courier.suspend()
    jobs = [seed.job(seed.client(), slow_checkpoint) for _ in range(3)]
    crew.ticket()
    board = ProgressBoard(connect_redis(crew.settings))
    until(lambda: all(entry.phase == "storing" for entry in board.get(jobs).values()) and board.get(jobs))

    courier.kill()

    assert crew.finish(*jobs) == [JobState.SUCCEEDED] * 3
    assert stored(sessions, storage, *jobs) == 3
    with sessions() as session:
        count = session.scalar(select(func.count()).where(JobEvent.kind == "job.succeeded"))
    assert count == 3


@pytest.mark.slow
def test_a_job_that_kills_its_worker_fails_at_the_cap(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a job that crashes the child each time, when the cap is reached, then it fails and another job lives."""
    crew.worker(SAFELIGHT_LEASE_SECONDS="3")
    crew.sweeper(SAFELIGHT_LEASE_SECONDS="3", SAFELIGHT_SWEEP_SECONDS="0.2", SAFELIGHT_MAX_CRASHES="1")
    bad = seed.job(seed.client(), slow_checkpoint, params={"prompt": "kill"})
    crew.ticket()

    assert crew.finish(bad) == [JobState.FAILED]
    assert seed.read(bad).error_code == "worker_lost"
    good = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(good) == [JobState.SUCCEEDED]


def test_a_broker_that_dies_costs_no_job_and_is_found_again(
    crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard
) -> None:
    """Given a running job, when Redis goes away, then the job ends; when Redis is back, the worker hears it again."""
    parts = urlsplit(crew.settings.redis_url)
    assert parts.port is not None
    line = Line(parts.port)
    crew.worker(SAFELIGHT_REDIS_URL=crew.settings.redis_url.replace(f":{parts.port}", f":{line.port}"))
    params = {"prompt": "step 0.1", "num_inference_steps": 10}
    first = seed.job(seed.client(), slow_checkpoint, params=params)
    crew.ticket()
    until(lambda: crew.states(first) == [JobState.RUNNING], what="the start")

    line.cut()
    assert crew.finish(first) == [JobState.SUCCEEDED]

    second = seed.job(seed.client(), slow_checkpoint)
    line.mend()
    crew.ticket()
    assert crew.finish(second) == [JobState.SUCCEEDED]
    line.cut()


@pytest.mark.slow
def test_a_worker_cut_off_from_postgres_is_fenced_out(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, storage: Storage
) -> None:
    """Given a worker that Postgres cannot hear, when another takes its job, then the first lets it go."""
    database = make_url(crew.settings.database_url)
    assert database.port is not None
    line = Line(database.port)
    cut_off = database.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
    crew.worker(SAFELIGHT_DATABASE_URL=cut_off, **SHORT)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 40})
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the start")
    crew.sweeper(**SHORT)

    line.cut()
    until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")
    other = crew.worker(**SHORT)

    assert crew.finish(job) == [JobState.SUCCEEDED]
    first, second = attempts_of(sessions, job)
    assert (first.outcome, second.outcome) == (AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED)
    assert first.worker != second.worker
    assert stored(sessions, storage, job) == 1

    other.send_signal(signal.SIGTERM)
    other.wait(15)
    line.mend()
    after = seed.job(seed.client(), slow_checkpoint)
    assert crew.finish(after) == [JobState.SUCCEEDED]
    line.cut()


@pytest.mark.parametrize(
    "module", ["worker.app", "worker.sweeper", "worker.courier.__main__", "worker.webhooks.__main__"]
)
def test_the_light_processes_import_no_torch(crew: Crew, module: str) -> None:
    process = crew.start("-c", f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert process.wait(30) == 0
