"""A worker lets go of a job without a result: it drains, or the client canceled."""

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from models.jobs.announce import announce
from models.jobs.guard import NO_LEASE, Hold, end_attempt, give_back_quota, held
from models.jobs.rows import Job
from models.states import AttemptOutcome, JobState


def release_drained(session: Session, hold: Hold) -> bool:
    """Running → queued, at once and at no cost to any budget; canceled if that was asked for and not seen yet.

    False when the hold was gone.
    """
    row = session.execute(
        update(Job)
        .where(*held(hold), ~Job.cancel_requested)
        .values(state=JobState.QUEUED, available_at=func.now(), **NO_LEASE)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return release_canceled(session, hold)
    end_attempt(session, hold.job_id, hold.attempt, AttemptOutcome.DRAINED)
    announce(session, [hold.job_id], "job.queued", {"reason": "drained"})
    return True


def release_canceled(session: Session, hold: Hold) -> bool:
    """Running → canceled, after the worker saw the request. False when the hold was gone."""
    row = session.execute(
        update(Job)
        .where(*held(hold), Job.cancel_requested)
        .values(state=JobState.CANCELED, finished_at=func.now(), **NO_LEASE)
        .returning(Job.client_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return False
    end_attempt(session, hold.job_id, hold.attempt, AttemptOutcome.CANCELED)
    announce(session, [hold.job_id], "job.canceled")
    give_back_quota(session, row.client_id)
    return True
