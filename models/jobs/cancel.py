"""T7, cancel: a queued job ends now, a running one is asked to."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.events import CANCEL_CHANNEL
from models.jobs.announce import announce
from models.jobs.guard import give_back_quota
from models.jobs.rows import Job
from models.states import CANCELABLE_STATES, JobState

NOT_STARTED: frozenset[JobState] = frozenset({JobState.WAITING, JobState.QUEUED})


def cancel(session: Session, job_id: UUID) -> bool:
    """Ask for the end of a live job. False when it had ended already; asking twice is harmless."""
    ended = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(NOT_STARTED))
        .values(state=JobState.CANCELED, finished_at=func.now(), cancel_requested=True)
        .returning(Job.client_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if ended is not None:
        announce(session, [job_id], "job.canceled")
        give_back_quota(session, ended.client_id)
        return True
    asked = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.RUNNING)
        .values(cancel_requested=True)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if asked is not None:
        announce(session, [job_id], "job.cancel_requested")
        session.execute(select(func.pg_notify(CANCEL_CHANNEL, str(job_id))))
    return asked is not None


def cancel_chain(session: Session, chain_id: UUID) -> int:
    """Ask for the end of every live job of a chain; how many there were. Those that wait end with what they need."""
    live = select(Job.id).where(Job.chain_id == chain_id, Job.state.in_(CANCELABLE_STATES)).order_by(Job.id)
    return sum(cancel(session, job_id) for job_id in session.scalars(live).all())
