"""T3, heartbeat: extend the leases that are still ours, and hear which jobs the client wants stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, text, tuple_, update
from sqlalchemy.orm import Session

from models.base import seconds
from models.jobs.guard import Hold
from models.jobs.rows import Job


@dataclass(frozen=True)
class Beat:
    """What a heartbeat heard: the holds that were extended, and the jobs among them to be canceled."""

    kept: frozenset[UUID]
    cancel: frozenset[UUID]


def extend(session: Session, holds: Sequence[Hold], lease_seconds: float) -> Beat:
    """Push the leases `lease_seconds` into the future. A hold that is not in `kept` is gone: stop that item."""
    if not holds:
        return Beat(frozenset(), frozenset())
    rows = session.execute(
        update(Job)
        .where(
            tuple_(Job.id, Job.attempt, Job.lease_owner).in_([(h.job_id, h.attempt, h.owner) for h in holds]),
            Job.state == text("'running'"),
        )
        .values(lease_expires_at=func.now() + seconds(lease_seconds))
        .returning(Job.id, Job.cancel_requested)
        .execution_options(synchronize_session=False)
    ).all()
    return Beat(frozenset(row.id for row in rows), frozenset(row.id for row in rows if row.cancel_requested))
