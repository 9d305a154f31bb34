"""A worker that was thought dead wakes up, in every order: the fence holds, and one result is published.

The zombies are real processes that were stopped with SIGSTOP, and statements that were held back on the line.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psutil
import pytest
from sqlalchemy import delete, func, select, update

from models.base import seconds
from models.jobs import Attempt, CheckpointCard, Job
from models.jobs.guard import NO_LEASE
from models.queue import connect_redis, make_celery
from models.session import Sessions
from models.settings import Settings
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from models.workers import Worker
from tests.faults.conftest import to_postgres
from tests.faults.ledger import assert_ended_once, assert_running, objects_of, read
from tests.faults.points import Points
from tests.faults.proxy import Proxy
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.test_processes import child_of
from worker import duties
from worker.duties import Sweep

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3"}
LOST, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED
PUBLISH, FAIL = b"results_expire_at=(now()", b"jobs.infrastructure_since, jobs.cancel_requested"
"""What only the guarded statement of the publish, or of the fail, says."""

MakePoints = Callable[[str], Points]

pytestmark = pytest.mark.slow


def fall_asleep(worker: "subprocess.Popen[bytes]", points: Points, at: str) -> psutil.Process:
    """Wait until the worker's courier waits at this point, then stop the whole worker. The courier."""
    courier = psutil.Process(points.reached(at))
    os.killpg(worker.pid, signal.SIGSTOP)
    points.go(at)
    return courier


def wake(worker: "subprocess.Popen[bytes]") -> None:
    os.killpg(worker.pid, signal.SIGCONT)


def test_a_zombie_publishes_after_the_others_success(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    points: MakePoints,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a worker asleep with a stored picture, when it wakes after another's success, then nothing changes.

    Its picture is garbage, and the collector takes that alone.
    """
    first = points("first")
    zombie = crew.worker(**SHORT, **first.arm(after_put="wait", after_commit="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    courier = fall_asleep(zombie, first, "after_put")
    crew.sweeper(**SHORT)
    crew.worker(**SHORT)
    assert crew.finish(job) == [JobState.SUCCEEDED]

    courier.resume()
    assert first.reached("after_commit") == courier.pid, "the zombie tried to publish"

    found = assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)
    first.go("after_commit")
    wake(zombie)
    (artifact,) = found.artifacts
    assert len(objects_of(storage, job)) == 2
    monkeypatch.setattr(duties, "GARBAGE_AGE", timedelta(seconds=-60))
    duties.collect_garbage(
        Sweep(settings, sessions, storage, connect_redis(settings), make_celery(settings, worker=False))
    )
    assert objects_of(storage, job) == {artifact.key}


def test_a_zombie_publishes_while_the_second_attempt_runs(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, points: MakePoints
) -> None:
    """Given a second attempt in mid-run, when the first one publishes, then it is fenced out and the second counts."""
    first, second = points("first"), points("second")
    zombie = crew.worker(**SHORT, **first.arm(after_put="wait", after_commit="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    courier = fall_asleep(zombie, first, "after_put")
    crew.sweeper(**SHORT)
    crew.worker(**SHORT, **second.arm(before_run="wait"))
    second.reached("before_run")

    courier.resume()
    first.reached("after_commit")

    assert_running(sessions, job, attempt=2)
    assert read(sessions, job).outcomes == [LOST, AttemptOutcome.RUNNING]
    first.go("after_commit")
    wake(zombie)
    second.go("before_run")
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def test_a_zombie_publishes_while_the_job_waits_again(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, points: MakePoints
) -> None:
    """Given a job that was reaped and that nobody claimed yet, when the lost attempt publishes, then it is refused."""
    first = points("first")
    zombie = crew.worker(**SHORT, **first.arm(after_put="wait", after_commit="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    courier = fall_asleep(zombie, first, "after_put")
    crew.sweeper(**SHORT)
    until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")

    courier.resume()
    first.reached("after_commit")

    found = read(sessions, job)
    assert (found.job.state, found.outcomes, found.artifacts) == (JobState.QUEUED, [LOST], [])
    first.go("after_commit")
    wake(zombie)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def test_a_worker_is_its_own_zombie(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    points: MakePoints,
    postgres_line: Proxy,
) -> None:
    """Given a worker that runs a job for the second time, when its own first publish arrives late, then it is refused.

    Owner and state are those of the running attempt: only the number tells them apart.
    """
    here = points("here")
    worker = crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line), **here.arm(after_put="wait"))
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.2", "num_inference_steps": 20})
    crew.ticket()
    here.reached("after_put")
    late = postgres_line.hold(PUBLISH)
    here.go("after_put")
    late.wait()
    child = child_of(worker)
    child.suspend()
    crew.sweeper(**SHORT)
    until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")
    child.resume()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the second attempt")
    assert read(sessions, job).job.lease_owner == read(sessions, job).attempts[0].worker
    answered = postgres_line.notice(b"COMMIT")

    late.release()
    answered.wait()

    assert_running(sessions, job, attempt=2)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def test_a_zombie_fails_while_the_second_attempt_runs(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    points: MakePoints,
    postgres_line: Proxy,
) -> None:
    """Given a worker cut off while it says that its attempt failed, when that arrives late, then the job goes on."""
    first, second = points("first"), points("second")
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line), **first.arm(before_run="raise"))
    late = postgres_line.freeze_at(FAIL)
    crew.sweeper(**SHORT)
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    late.wait()
    crew.worker(**SHORT, **second.arm(before_run="wait"))
    second.reached("before_run")
    answered = postgres_line.notice(b"COMMIT")

    postgres_line.thaw()
    answered.wait()

    assert_running(sessions, job, attempt=2)
    found = read(sessions, job)
    assert (found.outcomes, found.job.error_count) == ([LOST, AttemptOutcome.RUNNING], 0)
    second.go("before_run")
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def forget_the_claim(sessions: Sessions, job: UUID) -> None:
    """What a failover to a replica does that had not heard of it yet."""
    with sessions.begin() as session:
        session.execute(delete(Attempt).where(Attempt.job_id == job))
        session.execute(update(Job).where(Job.id == job).values(state=JobState.QUEUED, attempt=0, **NO_LEASE))


def test_a_zombie_of_a_claim_that_postgres_forgot(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, points: MakePoints
) -> None:
    """Given a failover that lost a claim, when that attempt publishes, then only its owner's name tells it apart."""
    first, second = points("first"), points("second")
    zombie = crew.worker(**SHORT, **first.arm(after_put="wait", after_commit="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    courier = fall_asleep(zombie, first, "after_put")
    forget_the_claim(sessions, job)
    crew.sweeper(**SHORT)  # a ticket may go to the sleeping worker, and is lost there
    crew.worker(**SHORT, **second.arm(before_run="wait"))
    second.reached("before_run")

    courier.resume()
    first.reached("after_commit")

    assert_running(sessions, job, attempt=1)
    second.go("before_run")
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, SUCCEEDED)


def test_a_zombies_put_overwrites_nothing(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, points: MakePoints
) -> None:
    """Given two workers whose pictures differ, and even the attempt's number is the same, then each has its own key."""
    first = points("first")
    zombie = crew.worker(**SHORT, **first.arm(before_put="wait", after_commit="wait"))
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "unlike"})
    crew.ticket()
    courier = fall_asleep(zombie, first, "before_put")
    forget_the_claim(sessions, job)
    crew.sweeper(**SHORT)  # a ticket may go to the sleeping worker, and is lost there
    crew.worker(**SHORT)
    assert crew.finish(job) == [JobState.SUCCEEDED]

    courier.resume()
    first.reached("after_commit")

    assert len(objects_of(storage, job)) == 2
    assert_ended_once(sessions, storage, job, SUCCEEDED)


def test_a_zombie_asleep_in_its_failing_transaction(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, points: MakePoints
) -> None:
    """Given a worker that stops with the job's row locked, then Postgres ends that transaction, and the job goes on."""
    first = points("first")
    idle = {"SAFELIGHT_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS": "2"}
    zombie = crew.worker(**SHORT, **idle, **first.arm(before_run="raise", before_fail="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    first.reached("before_fail")
    os.killpg(zombie.pid, signal.SIGSTOP)
    crew.sweeper(**SHORT)
    crew.worker(**SHORT)
    assert crew.finish(job) == [JobState.SUCCEEDED]

    first.go("before_fail")
    wake(zombie)
    until(lambda: held_by(sessions, zombie) == [], what="the zombie's letting go")

    assert assert_ended_once(sessions, storage, job, LOST, SUCCEEDED).job.error_count == 0


def held_by(sessions: Sessions, worker: "subprocess.Popen[bytes]") -> list[str] | None:
    """The jobs that the worker says it holds; None when it was not heard of for a second."""
    pids = [process.pid for process in psutil.Process(worker.pid).children(recursive=True)]
    heard = Worker.seen_at > func.now() - seconds(1)
    with sessions() as session:
        row = session.scalars(select(Worker).where(Worker.pid.in_(pids), heard)).one_or_none()
    return list(row.info["jobs"]) if row is not None else None
