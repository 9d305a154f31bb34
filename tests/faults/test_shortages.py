"""No memory, no room, no connection left: a clear error with a stable code, and no job is lost."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from models.checkpoints import Source, scan_folder
from models.jobs import CheckpointCard
from models.session import Sessions
from models.settings import Settings
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.ledger import assert_ended_once, read
from tests.faults.test_spine import start_api
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.slow import write_checkpoint
from tests.worker.test_processes import child_of

SHORT = {"SAFELIGHT_LEASE_SECONDS": "5", "SAFELIGHT_SWEEP_SECONDS": "0.3", "SAFELIGHT_RETRY_BASE_SECONDS": "0"}
RETRIED, SUCCEEDED = AttemptOutcome.RETRIED, AttemptOutcome.SUCCEEDED
CACHE_BYTES = 1 << 19
"""Half of what the checkpoint takes."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("prompt", ["oom 0", "hog"])
def test_a_job_that_needs_too_much_memory_fails_alone(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, prompt: str
) -> None:
    """Given a batch in which one job never fits, then it alone fails, by its own error, and the worker lives."""
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": each}) for each in ("a cat", prompt, "a dog")]
    crew.worker()
    assert crew.finish(*jobs) == [JobState.SUCCEEDED, JobState.FAILED, JobState.SUCCEEDED]
    greedy = jobs.pop(1)
    found = read(sessions, greedy)
    assert found.job.error_code == "out_of_memory"
    assert found.outcomes[-1] is AttemptOutcome.FAILED
    assert (found.live_jobs, found.artifacts, found.job.crash_count) == (0, [], 0)
    for job in jobs:
        assert_ended_once(sessions, storage, job, SUCCEEDED)
    after = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(after) == [JobState.SUCCEEDED]


# --- Postgres without a free connection -----------------------------------------------------------------------------


class Crowd:
    """Takes every connection that Postgres has, those of the product's processes too."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        url = make_url(settings.database_url).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._engine = engine
        self._held: list[psycopg.Connection[Any]] = []

    def come(self) -> None:
        """Throw out who is in, until none of them got in again before us."""
        in_here = "datname = current_database() AND application_name LIKE 'safelight %'"
        others = f"{in_here} AND application_name <> 'safelight test'"
        out = text(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}")  # noqa: S608
        with self._engine.connect() as connection:
            self._take_all()
            while connection.scalar(out):
                connection.rollback()
                self._take_all()

    def go(self) -> None:
        """Leave all of them."""
        while self._held:
            self._held.pop().close()

    def _take_all(self) -> None:
        with pytest.raises(psycopg.OperationalError, match=r"slots|too many"):
            self._held.extend(iter(lambda: psycopg.connect(self._url, application_name="crowd"), None))


@pytest.fixture
def crowd(settings: Settings, engine: Engine) -> Iterator[Crowd]:
    """Not there yet."""
    crowd = Crowd(settings, engine)
    yield crowd
    crowd.go()


def test_postgres_without_a_free_connection(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    crowd: Crowd,
) -> None:
    """Given a server that lets nobody in, then the API says so and every process lives; later the work goes on."""
    processes = [crew.worker(**SHORT), crew.sweeper(**SHORT)]
    api, url = start_api(crew)
    headers = {"Authorization": f"Bearer {seed.key(seed.client())}", "Idempotency-Key": "once"}
    body = {"task": "text_to_image", "checkpoint": slow_checkpoint.name, "params": {"prompt": "a cat"}}
    crowd.come()

    answer = httpx.post(f"{url}/v1/jobs", headers=headers, json=body, timeout=60)

    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert httpx.get(f"{url}/v1/health/live", timeout=60).status_code == 200
    assert httpx.get(f"{url}/v1/health/ready", timeout=60).status_code == 503
    assert [process.poll() for process in (*processes, api)] == [None] * 3
    crowd.go()

    def accepted() -> httpx.Response | None:
        again = httpx.post(f"{url}/v1/jobs", headers=headers, json=body, timeout=60)
        return again if again.is_success else None

    job = UUID(until(accepted, what="the API's recovery").json()["id"])
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, SUCCEEDED)
    assert [process.poll() for process in (*processes, api)] == [None] * 3


# --- no room for a checkpoint's files -------------------------------------------------------------------------------


class SmallDisk:
    """A file system that is too small, as root may mount it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mount(f"size={CACHE_BYTES}", "tmpfs")

    def limit(self, _child: psutil.Process) -> None:
        """It is limited already."""

    def grow(self, _child: psutil.Process) -> None:
        self._mount("remount,size=64m")

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self, options: str, *device: str) -> None:
        self.folder.mkdir(exist_ok=True)
        argv = ["mount", "-t", "tmpfs", "-o", options, *device, str(self.folder)]
        try:
            subprocess.run(argv, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a small disk cannot be mounted here")


class SmallFiles:
    """A worker that may write no file as large as the checkpoint's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def limit(self, child: psutil.Process) -> None:
        child.rlimit(psutil.RLIMIT_FSIZE, (CACHE_BYTES, -1))

    def grow(self, child: psutil.Process) -> None:
        child.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))

    def close(self) -> None:
        """Nothing is left of it."""


@pytest.mark.parametrize("shortage", [SmallDisk, SmallFiles])
def test_a_cache_without_room_is_the_workers_trouble(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    tmp_path: Path,
    shortage: type[SmallDisk] | type[SmallFiles],
) -> None:
    """Given a checkpoint that the worker cannot keep, then its jobs are tried again, and end once there is room."""
    folder = write_checkpoint(tmp_path / "remote", size_bytes=2 * CACHE_BYTES)
    weights = (folder / "model.safetensors").read_bytes()
    storage.put("checkpoints/large/model.safetensors", weights, "application/octet-stream")
    checkpoint = seed.checkpoint(
        "large", family="slow", source=Source.S3, location="checkpoints/large", manifest=scan_folder(folder)
    )
    cache = shortage(tmp_path / "cache")
    try:
        worker = crew.worker(**SHORT, SAFELIGHT_CHECKPOINT_CACHE=str(cache.folder))
        crew.sweeper(**SHORT)
        child = child_of(worker)
        cache.limit(child)
        job = seed.job(seed.client(), checkpoint)
        crew.ticket()
        until(lambda: RETRIED in read(sessions, job).outcomes, what="a retry")
        (first, *_) = read(sessions, job).attempts
        assert first.error_code == "infrastructure"
        assert "cache" in (first.error_detail or "")
        assert str(tmp_path) not in (first.error_detail or "")

        cache.grow(child)

        assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
        tries = len(read(sessions, job).attempts)
        found = assert_ended_once(sessions, storage, job, *[RETRIED] * (tries - 1), SUCCEEDED)
        assert (found.job.error_count, found.job.crash_count) == (0, 0)
    finally:
        crew.end()
        cache.close()
