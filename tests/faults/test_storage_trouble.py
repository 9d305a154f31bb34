"""S3 does not answer, or has no room: the worker keeps the pictures and its leases, and nothing runs twice."""

import io
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from PIL import Image

from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from safelight.standalone.spec import ProcessSpec
from tests.faults.conftest import to_s3
from tests.faults.ledger import assert_ended_once, assert_running, read
from tests.faults.own_crew import own_crew
from tests.faults.own_services import OwnServices, own_services
from tests.faults.proxy import Proxy
from tests.faults.test_spine import start_api
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3", "SAFELIGHT_RETRY_BASE_SECONDS": "0"}
LOST, RETRIED, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.RETRIED, AttemptOutcome.SUCCEEDED
CRASH_CAP = 2
DISK = "64m"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("hurt", "heal"), [(Proxy.freeze, Proxy.thaw), (Proxy.refuse, Proxy.accept)], ids=["frozen", "refusing"]
)
def test_the_pictures_are_kept_and_the_leases_extended(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    s3_line: Proxy,
    trace: Trace,
    hurt: Callable[[Proxy], None],
    heal: Callable[[Proxy], None],
) -> None:
    """Given S3 away for longer than a lease, then the next batch runs meanwhile, and each runs once."""
    crew.worker(**SHORT, **to_s3(s3_line), **trace.environment)
    crew.sweeper(**SHORT)
    hurt(s3_line)
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    until(lambda: trace.steps(job), what="the run")
    first = read(sessions, job).job.lease_expires_at
    assert first is not None
    later = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    until(lambda: trace.steps(later), what="the run of the next")
    until(lambda: _extended(sessions, job, beyond=first), what="a heartbeat after the first lease would have ended")
    assert_running(sessions, job, attempt=1)

    heal(s3_line)

    assert crew.finish(job, later, seconds=60) == [JobState.SUCCEEDED] * 2
    for each in (job, later):
        assert_ended_once(sessions, storage, each, SUCCEEDED)
        assert len(trace.runs(each)) == 1


def test_a_worker_that_dies_while_s3_is_away_is_no_crash_of_what_it_had_made(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    s3_line: Proxy,
) -> None:
    """Given a picture that S3 does not take, when its worker is killed again and again, then the job is not blamed."""
    crew.sweeper(**SHORT, SAFELIGHT_MAX_CRASHES=str(CRASH_CAP))
    s3_line.freeze()
    job = seed.job(seed.client(), slow_checkpoint)
    for attempt in range(1, CRASH_CAP + 1):
        worker = crew.worker(**SHORT, **to_s3(s3_line))
        until(lambda: read(sessions, job).attempts[attempt - 1 :], what="the claim")  # noqa: B023
        until(lambda: read(sessions, job).attempts[-1].measures, what="the courier's word")
        os.killpg(worker.pid, signal.SIGKILL)
        until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")

    s3_line.thaw()
    crew.worker(**SHORT, **to_s3(s3_line))

    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    found = assert_ended_once(sessions, storage, job, *[LOST] * CRASH_CAP, SUCCEEDED)
    assert found.job.crash_count == 0


def test_after_its_budget_the_job_is_tried_again(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    s3_line: Proxy,
) -> None:
    """Given S3 away for longer than the budget, then the attempt ends as infrastructure, which is no error of its."""
    crew.worker(**SHORT, **to_s3(s3_line), SAFELIGHT_STORE_BUDGET_SECONDS="0.5")
    crew.sweeper(**SHORT)
    s3_line.refuse()
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    until(lambda: RETRIED in read(sessions, job).outcomes, what="a retry")
    s3_line.accept()
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    attempts = read(sessions, job).attempts
    found = assert_ended_once(sessions, storage, job, *[RETRIED] * (len(attempts) - 1), SUCCEEDED)
    assert {attempt.error_code for attempt in attempts[:-1]} == {"infrastructure"}
    assert (found.job.error_count, found.job.crash_count, found.job.infrastructure_since) == (0, 0, None)


@pytest.fixture
def on_a_small_disk() -> Iterator[OwnServices]:
    """Services of our own, whose S3 keeps its data on a small disk."""
    mounted: list[str] = []

    def mount(spec: ProcessSpec) -> ProcessSpec:
        if spec.name == "seaweed":
            assert spec.folder is not None
            spec.folder.mkdir(parents=True, exist_ok=True)
            argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(spec.folder)]
            try:
                done = subprocess.run(argv, capture_output=True, text=True, check=False)
            except OSError as error:
                pytest.skip(f"a small disk cannot be mounted here: {error}")
            if done.returncode:
                pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
            mounted.append(str(spec.folder))
        return spec

    try:
        with own_services(unsafe=True, change=mount) as services:
            Storage(services.settings).put("checkpoints/first", b"makes a volume", "text/plain")
            yield services
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take what room is left; the file that took it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        stream.writelines(itertools.repeat(bytes(1 << 20)))
    return filler


def test_a_full_disk_loses_no_job(on_a_small_disk: OwnServices, trace: Trace, tmp_path: Path) -> None:
    """Given an S3 without room, then uploads get a clear answer and jobs wait; with room they end, once."""
    folder = on_a_small_disk.seaweed.spec.folder
    assert folder is not None
    with own_crew(on_a_small_disk, tmp_path) as own:
        _, url = start_api(own.crew)
        own.crew.worker(**SHORT, **trace.environment, SAFELIGHT_STORE_BUDGET_SECONDS="0.5")
        own.crew.sweeper(**SHORT)
        filler = fill(folder)

        client = own.seed.client()
        job = own.seed.job(client, own.checkpoint)
        own.crew.ticket()
        until(lambda: RETRIED in read(own.sessions, job).outcomes, what="a retry")
        answer = httpx.post(
            f"{url}/v1/uploads",
            headers={"Authorization": f"Bearer {own.seed.key(client)}"},
            files={"file": ("a.png", picture(), "image/png")},
            timeout=60,
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        filler.unlink()

        assert own.crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
        attempts = read(own.sessions, job).attempts
        assert {attempt.error_code for attempt in attempts[:-1]} == {"infrastructure"}
        assert_ended_once(own.sessions, own.storage, job, *[RETRIED] * (len(attempts) - 1), SUCCEEDED)


def _extended(sessions: Sessions, job: UUID, *, beyond: datetime) -> bool:
    """Whether the lease was extended after it would have run out at this time."""
    now = read(sessions, job).job.lease_expires_at
    return now is not None and now - beyond > timedelta(seconds=float(SHORT["SAFELIGHT_LEASE_SECONDS"]))


def picture() -> bytes:
    """A PNG that hardly gets smaller."""
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "PNG")
    return stream.getvalue()
