"""The whole line with processes that die: a job that was accepted ends, and ends once."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest
import redis
from sqlalchemy import func, select

from models.artifacts import Artifact
from models.events import JobEvent
from models.jobs import CheckpointCard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.states import JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew, crew, slow_checkpoint, until

__all__ = ["crew", "slow_checkpoint"]

QUICK = {"SAFELIGHT_LEASE_SECONDS": "2", "SAFELIGHT_SWEEP_SECONDS": "0.5"}


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never answers: what a hung Redis looks like."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def start_api(crew: Crew, **environment: str) -> tuple["subprocess.Popen[bytes]", str]:
    """A real gunicorn; its process and address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = crew.start(
        "-m", "gunicorn", "-c", "python:api.gunicorn_conf", "api.wsgi:app", SAFELIGHT_API_PORT=str(port), **environment
    )
    url = f"http://127.0.0.1:{port}"

    def alive() -> bool:
        try:
            return httpx.get(f"{url}/v1/health/live").is_success
        except httpx.TransportError:
            return False

    until(alive, what="the API")
    return process, url


def assert_ended_once(sessions: Sessions, storage: Storage, job: UUID) -> None:
    """One terminal event, one artifact, and its object is there with its hash."""
    import hashlib

    with sessions() as session:
        ended = select(func.count()).where(JobEvent.job_id == job, JobEvent.kind == "job.succeeded")
        assert session.scalar(ended) == 1
        (artifact,) = session.scalars(select(Artifact).where(Artifact.job_id == job))
    assert hashlib.sha256(storage.get(artifact.key)).hexdigest() == artifact.sha256


def test_the_api_dies_between_commit_and_ticket(
    crew: Crew,
    seed: Seeder,
    slow_checkpoint: CheckpointCard,
    black_hole: int,
    settings: Settings,
    sessions: Sessions,
    storage: Storage,
) -> None:
    # Given an idle worker, and an API whose Redis hangs, so that the ticket cannot leave it
    crew.worker(**QUICK)
    process, url = start_api(crew, SAFELIGHT_REDIS_URL=f"redis://127.0.0.1:{black_hole}/0")
    key = seed.key(seed.client())
    # When a job was accepted and the API is killed
    answer = httpx.post(
        f"{url}/v1/jobs",
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "once"},
        json={"task": "text_to_image", "checkpoint": slow_checkpoint.name, "params": {"prompt": "a cat"}},
        timeout=30,
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert answer.status_code == 202, answer.text
    job = UUID(answer.json()["id"])
    with connect_redis(settings) as connection:
        assert not connection.llen("gpu"), "no ticket ever reached the real Redis"
    # Then nobody but the sweeper wakes the worker, and the job ends once
    time.sleep(1)
    assert crew.states(job) == [JobState.QUEUED]
    crew.sweeper(**QUICK)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job)


def test_redis_is_wiped_while_jobs_wait(
    crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard, settings: Settings, sessions: Sessions, storage: Storage
) -> None:
    client = seed.client()
    _, url = start_api(crew)
    key = seed.key(client)
    jobs = []
    for number in range(3):
        answer = httpx.post(
            f"{url}/v1/jobs",
            headers={"Authorization": f"Bearer {key}"},
            json={"task": "text_to_image", "params": {"prompt": "a cat", "seed": number}},
        )
        jobs.append(UUID(answer.raise_for_status().json()["id"]))
    broker = redis.Redis.from_url(settings.redis_url)
    until(lambda: broker.llen("gpu"), what="the ticket")
    broker.flushall()
    broker.close()
    crew.worker(**QUICK)
    crew.sweeper(**QUICK)
    assert crew.finish(*jobs) == [JobState.SUCCEEDED] * 3
    for job in jobs:
        assert_ended_once(sessions, storage, job)


def test_a_worker_is_killed_in_mid_job(
    crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard, sessions: Sessions, storage: Storage
) -> None:
    doomed = crew.worker(**QUICK)
    crew.sweeper(**QUICK)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.3", "num_inference_steps": 5})
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the job's start")
    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.wait()
    crew.worker(**QUICK)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job)
    found = seed.read(job)
    assert (found.attempt, found.crash_count, found.isolate) == (2, 1, True)
