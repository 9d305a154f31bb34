"""The sweepers die and meet, tickets double: every job is given on once, and runs once."""

import time
from uuid import UUID

import pytest

from models.jobs import CheckpointCard, reap_lost
from models.jobs.sweep import Reaped
from models.queue import WAKE_TASK, connect_redis, make_celery
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.conftest import to_redis
from tests.faults.ledger import assert_ended_once, read
from tests.faults.proxy import Proxy
from tests.faults.trace import Trace
from tests.models.test_endings import expire_lease
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3"}
LOST, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED


def lost_jobs(seed: Seeder, sessions: Sessions, checkpoint: CheckpointCard, count: int) -> list[UUID]:
    """Jobs that ran alone, each on a worker that is no more."""
    client = seed.client()
    jobs = [seed.job(client, checkpoint) for _ in range(count)]
    for number in range(count):
        (claimed,) = seed.claim(owner=f"dead-{number}", max_images=1)
        expire_lease(sessions, claimed.job_id)
    return jobs


@pytest.mark.slow
def test_a_sweeper_dies_between_its_transaction_and_the_ticket(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    redis_line: Proxy,
) -> None:
    """Given a job that was given back and nobody was told of, then the next sweep tells an idle worker."""
    (job,) = lost_jobs(seed, sessions, slow_checkpoint, 1)
    crew.worker(**SHORT)  # after that, since it looks for work once when it starts
    redis_line.freeze()
    doomed = crew.sweeper(**SHORT, **to_redis(crew.settings, redis_line))
    until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")
    doomed.kill()
    doomed.wait()
    redis_line.cut()
    with connect_redis(crew.settings) as redis:
        assert not redis.llen("gpu"), "its ticket never got through"
    time.sleep(1)
    assert crew.states(job) == [JobState.QUEUED]

    crew.sweeper(**SHORT)

    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, LOST, SUCCEEDED)


def test_what_one_sweeper_reaps_the_other_passes_over(seed: Seeder, sessions: Sessions) -> None:
    """Given a sweeper in the middle of its transaction, when another reaps, then it neither waits nor does it again."""
    jobs = lost_jobs(seed, sessions, seed.checkpoint(), 3)
    with sessions.begin() as one:
        assert reap_lost(one, max_crashes=3) == Reaped(3, 0, 0)
        with sessions.begin() as other:
            assert reap_lost(other, max_crashes=3) == Reaped(0, 0, 0)
    for job in jobs:
        found = read(sessions, job)
        assert (found.outcomes, found.job.crash_count) == ([LOST], 1)


@pytest.mark.slow
def test_two_sweepers_reap_the_same_rows_at_once(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given many lost jobs, when two sweepers fall upon them together, then each is given back once, with one crash."""
    jobs = lost_jobs(seed, sessions, slow_checkpoint, 40)
    for _ in range(2):
        crew.sweeper(**SHORT)
    until(lambda: set(crew.states(*jobs)) == {JobState.QUEUED}, what="the reaping")
    for job in jobs:
        found = read(sessions, job)
        assert found.events == ["job.queued", "job.running", "job.queued"]
        assert (found.outcomes, found.job.crash_count) == ([LOST], 1)


@pytest.mark.slow
def test_fifty_copies_of_a_ticket_run_a_job_once(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, trace: Trace
) -> None:
    """Given two workers and fifty tickets that name one job, then one of them runs it, once."""
    for _ in range(2):
        crew.worker(**SHORT, **trace.environment)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 5})
    app = make_celery(crew.settings, worker=False)
    for _ in range(50):
        app.send_task(WAKE_TASK, args=["gpu", str(job)], queue="gpu", ignore_result=True)
    app.close()
    assert crew.finish(job) == [JobState.SUCCEEDED]
    with connect_redis(crew.settings) as redis:
        until(lambda: not redis.llen("gpu"), what="the end of the tickets")
    after = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(after) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, SUCCEEDED)
    assert len(trace.runs(job)) == 1


@pytest.mark.slow
def test_a_ticket_that_names_nothing_wakes_a_worker_all_the_same(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard
) -> None:
    """Given a ticket of a job that never was, then the worker runs what waits: Postgres says what that is."""
    crew.worker(**SHORT)
    jobs = [seed.job(seed.client(), slow_checkpoint) for _ in range(2)]
    app = make_celery(crew.settings, worker=False)
    app.send_task(WAKE_TASK, args=["gpu", "00000000-0000-0000-0000-000000000000"], queue="gpu", ignore_result=True)
    app.close()
    assert crew.finish(*jobs) == [JobState.SUCCEEDED] * 2
    for job in jobs:
        assert_ended_once(sessions, storage, job, SUCCEEDED)
