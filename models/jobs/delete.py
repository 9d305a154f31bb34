"""Forgetting a job that has ended. Its events, attempts, artifacts and messages go with its row; copies of it stay."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.artifacts import Artifact
from models.errors import ConflictError
from models.jobs.rows import Job, JobNeed
from models.states import FINAL_STATES, LIVE_STATES


def delete_final(session: Session, job_id: UUID) -> Sequence[str] | None:
    """Delete the job. Returns the keys of its objects, to be deleted after commit; None when it has not ended.

    A crash after the commit leaves objects that no row names: the sweeper collects them.

    Raises:
        ConflictError: another job takes its output and has not ended.
    """
    # Locked first: the sweeper deletes the results of old jobs, and the two must not take each other's artifacts.
    ended = select(Job.id).where(Job.id == job_id, Job.state.in_(FINAL_STATES)).with_for_update()
    if session.scalars(ended).one_or_none() is None:
        return None
    needed = (
        select(Job.id)
        .join(JobNeed, JobNeed.job_id == Job.id)
        .where(JobNeed.needs_id == job_id, Job.state.in_(LIVE_STATES))
        .limit(1)
    )
    if (taker := session.scalars(needed).one_or_none()) is not None:
        raise ConflictError(f"The job {taker} takes its output and has not ended; cancel that one first.")
    keys = session.scalars(delete(Artifact).where(Artifact.job_id == job_id).returning(Artifact.key)).all()
    session.execute(delete(Job).where(Job.id == job_id).execution_options(synchronize_session=False))
    return keys
