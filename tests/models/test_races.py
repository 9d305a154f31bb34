"""Two at the same job at once: no deadlock, and a cancel is never forgotten."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.clients import Client
from models.errors import InvalidInputError, PipelineFailedError, TransientError
from models.jobs import Attempt, Failure, Hold, Job, cancel, expire_overdue, fail, reap_lost, release_drained
from models.session import Sessions
from models.settings import Settings
from models.states import AttemptOutcome, JobState
from tests.models.test_endings import expire_lease
from tests.seeding import Seeder

ENDINGS: dict[str, Callable[[Session, Hold], Any]] = {
    "drained": release_drained,
    "error": lambda session, hold: fail(session, hold, PipelineFailedError("bug"), Settings(), {}),
    "outage": lambda session, hold: fail(session, hold, TransientError("s3"), Settings(), {}),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_job_that_was_to_be_canceled_does_not_go_back_to_the_queue(
    seed: Seeder, sessions: Sessions, ending: str
) -> None:
    """Given a cancel that the worker has not seen yet, when its attempt ends without a result, then so does the job."""
    client = seed.client()
    job = seed.job(client, seed.checkpoint())
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        assert cancel(session, job)
    with sessions.begin() as session:
        assert ENDINGS[ending](session, claimed.hold) not in {False, Failure.FENCED}
    found = seed.read(job)
    assert (found.state, found.lease_owner) == (JobState.CANCELED, None)
    with sessions() as session:
        assert session.get_one(Client, client).live_jobs == 0
        (attempt,) = session.scalars(select(Attempt).where(Attempt.job_id == job))
    assert attempt.outcome is AttemptOutcome.CANCELED


SWEEPS: dict[str, Callable[[Session, Hold], Any]] = {
    "fail": lambda session, hold: fail(session, hold, InvalidInputError("never"), Settings(), {}),
    "reap": lambda session, _hold: reap_lost(session, max_crashes=1),
    "expire": lambda session, _hold: expire_overdue(session),
}


@pytest.mark.parametrize("verb", SWEEPS)
def test_a_copy_of_a_job_that_ends_meanwhile_does_not_deadlock(seed: Seeder, sessions: Sessions, verb: str) -> None:
    """Given a submit that holds its client's row, when the job that it copies is being ended, then both get through.

    The new row's foreign key shares a lock of the copied one; whoever ends that one wants the client's row.
    """
    client, checkpoint = seed.client(), seed.checkpoint()
    job = seed.job(client, checkpoint)
    hold = Hold(job, 0, "nobody")
    if verb == "expire":
        with sessions.begin() as session:
            session.execute(update(Job).values(deadline_at=Job.created_at))
    else:
        (claimed,) = seed.claim()
        hold = claimed.hold
        expire_lease(sessions, job)

    def end() -> None:
        with sessions.begin() as session:
            SWEEPS[verb](session, hold)

    ending = threading.Thread(target=end)
    with sessions.begin() as submit:
        submit.execute(update(Client).where(Client.id == client).values(live_jobs=Client.live_jobs + 1))
        ending.start()
        ending.join(0.3)
        # What Postgres does for `source_job_id`.
        submit.execute(select(Job.id).where(Job.id == job).with_for_update(read=True, key_share=True, nowait=True))
        submit.execute(update(Client).where(Client.id == client).values(live_jobs=Client.live_jobs - 1))
    ending.join(10)
    assert seed.read(job).state in {JobState.QUEUED, JobState.FAILED, JobState.EXPIRED}
