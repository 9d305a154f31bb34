"""A line to Postgres that hangs without breaking: the worker lets go by its own clock, before the job is given on."""

import time
from collections.abc import Callable

import pytest

from models.jobs import CheckpointCard, Job, reap_lost
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.conftest import to_postgres
from tests.faults.ledger import assert_ended_once, assert_running, read
from tests.faults.points import Points
from tests.faults.proxy import Proxy
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3"}
HEARTBEAT = b"UPDATE jobs SET lease_expires_at"
CLAIM = b"FOR UPDATE SKIP LOCKED"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("heal", [Proxy.thaw, Proxy.cut], ids=["thawed", "broken"])
def test_a_worker_lets_go_before_the_job_is_given_on(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    trace: Trace,
    heal: Callable[[Proxy], None],
) -> None:
    """Given a line that froze during a run, then no step of it was made after the reaping; healed, the worker works.

    What it claimed through the frozen line it may have given back: by its own clock that lease is no good either.
    """
    crew.worker(**SHORT, **trace.environment, **to_postgres(crew.settings, postgres_line))
    crew.sweeper(**SHORT)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 80})
    crew.ticket()
    until(lambda: trace.steps(job), what="the first step")

    postgres_line.freeze()

    until(lambda: crew.states(job) == [JobState.QUEUED], what="the reaping")
    given_on_at = read(sessions, job).attempts[0].finished_at
    assert given_on_at is not None
    heal(postgres_line)
    postgres_line.thaw()
    until(lambda: len(trace.runs(job)) == 2, what="the second run, by the same worker")
    first, second = trace.runs(job)
    steps = [step.at for step in trace.steps(job) if step.at < second.at]
    assert first.at < max(steps) < given_on_at.timestamp()
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    given_back = [AttemptOutcome.DRAINED] * (read(sessions, job).job.attempt - 2)
    found = assert_ended_once(sessions, storage, job, AttemptOutcome.LOST, *given_back, AttemptOutcome.SUCCEEDED)
    assert found.job.crash_count == 1


def test_a_claim_that_comes_late_is_given_back(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    trace: Trace,
) -> None:
    """Given a claim that was on its way for a whole lease, then its job is not run on it, and no crash is counted."""
    rehearsals = [postgres_line.notice(CLAIM) for _ in range(2)]
    crew.worker(**SHORT, **trace.environment, **to_postgres(crew.settings, postgres_line))
    for rehearsal in rehearsals:
        rehearsal.wait()
    late = postgres_line.hold(CLAIM)
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    late.wait()
    time.sleep(float(SHORT["SAFELIGHT_LEASE_SECONDS"]) + 0.5)

    late.release()

    crew.sweeper(**SHORT)
    assert crew.finish(job) == [JobState.SUCCEEDED]
    found = assert_ended_once(sessions, storage, job, AttemptOutcome.DRAINED, AttemptOutcome.SUCCEEDED)
    assert found.job.crash_count == 0
    assert len(trace.runs(job)) == 1


def test_a_late_heartbeat_extends_nothing(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    points: Callable[[str], Points],
) -> None:
    """Given a heartbeat held back on the line, when it arrives after the job was given on, then that lease stands."""
    second = points("second")
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line))
    sweeper = crew.sweeper(**SHORT)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 150})
    late = postgres_line.freeze_at(HEARTBEAT)
    crew.ticket()
    late.wait()
    other = crew.worker(**{**SHORT, "SAFELIGHT_LEASE_SECONDS": "600"}, **second.arm(before_run="wait"))
    second.reached("before_run")
    sweeper.terminate()
    expires_at = read(sessions, job).job.lease_expires_at
    answered = postgres_line.notice(b"INSERT INTO workers")

    postgres_line.thaw()
    answered.wait()

    assert_running(sessions, job, attempt=2)
    assert read(sessions, job).job.lease_expires_at == expires_at, "with 600 s, its own heartbeat comes much later"
    assert other.poll() is None


def test_a_worker_hears_that_its_job_was_given_on(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, trace: Trace
) -> None:
    """Given a lease that ended by Postgres' clock alone, then the heartbeat tells the worker, which stops in mid-run.

    Its own clock tells it nothing: every heartbeat was in time.
    """
    crew.worker(**SHORT, **trace.environment)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 50})
    crew.ticket()
    until(lambda: trace.steps(job), what="the first step")
    with sessions.begin() as session:
        held = session.get_one(Job, job, with_for_update=True)
        held.lease_expires_at = held.created_at
        session.flush()
        assert reap_lost(session, max_crashes=3).requeued == 1

    until(lambda: len(trace.runs(job)) == 2, what="the second run")

    _, second = trace.runs(job)
    assert len([step for step in trace.steps(job) if step.at < second.at]) < 50
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED)
