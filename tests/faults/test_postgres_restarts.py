"""Postgres goes away and comes back: until every living worker could have been heard again, nothing is reaped."""

import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from models.states import AttemptOutcome, JobState
from tests.faults.ledger import assert_ended_once, assert_running
from tests.faults.own_crew import OwnCrew, own_crew
from tests.faults.own_services import own_services
from tests.faults.trace import Trace
from tests.worker.conftest import until
from tests.worker.test_processes import child_of

LONG = {"SAFELIGHT_LEASE_SECONDS": "15", "SAFELIGHT_SWEEP_SECONDS": "0.2"}

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnCrew]:
    """Services of our own, with fsync as in production: what was committed is still there after the restart."""
    with own_services() as services, own_crew(services, tmp_path) as own:
        yield own


def test_the_sweeper_waits_a_lease_after_postgres_restarts(own: OwnCrew, trace: Trace) -> None:
    """Given a server that comes back with a later clock, then a job whose worker lives is not taken from it.

    The later clock is that of a replica which took over: every lease has run out by it, and no worker could know.
    """
    worker = own.crew.worker(**LONG, **trace.environment)
    sweeper = own.crew.sweeper(**LONG)
    job = own.seed.job(own.seed.client(), own.checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 50})
    own.crew.ticket()
    until(lambda: trace.steps(job), what="the first step")
    child = child_of(worker)
    child.suspend()
    sweeper.send_signal(signal.SIGSTOP)

    own.restart_postgres()
    with own.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET lease_expires_at = now() - interval '1 hour' WHERE state = 'running'"))
    sweeper.send_signal(signal.SIGCONT)
    sweeps(own, 10)
    assert_running(own.sessions, job, attempt=1)
    child.resume()

    assert own.crew.finish(job, seconds=60) == [JobState.SUCCEEDED]
    assert assert_ended_once(own.sessions, own.storage, job, AttemptOutcome.SUCCEEDED).job.crash_count == 0
    assert len(trace.runs(job)) == 1


def test_a_restart_in_mid_run_costs_nothing(own: OwnCrew, trace: Trace) -> None:
    """Given an immediate restart, then the running job goes on, and what was promised before is still there."""
    own.crew.worker(**LONG, **trace.environment)
    own.crew.sweeper(**LONG)
    client = own.seed.client()
    jobs = [
        own.seed.job(client, own.checkpoint, params={"prompt": "step 0.1", "num_inference_steps": steps})
        for steps in (30, 31)
    ]
    own.crew.ticket()
    until(lambda: trace.steps(jobs[0]), what="the first step")
    own.restart_postgres()
    assert own.crew.finish(*jobs, seconds=60) == [JobState.SUCCEEDED] * 2
    for job in jobs:
        assert_ended_once(own.sessions, own.storage, job, AttemptOutcome.SUCCEEDED)
        assert len(trace.runs(job)) == 1


def sweeps(own: OwnCrew, count: int) -> None:
    """Wait until the sweeper has spoken to Postgres so many times."""
    query = text("SELECT query_start FROM pg_stat_activity WHERE application_name = 'safelight sweeper'")
    seen: set[datetime] = set()

    def look() -> bool:
        with own.sessions() as session:
            seen.update(moment for moment in session.scalars(query) if moment is not None)
        return len(seen) > count

    until(look, what="some sweeps")
