"""A courier says that an attempt's pictures are made and only wait for S3: nothing of it could kill a worker now."""

from typing import Any

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.orm import Session

from models.jobs.guard import Hold
from models.jobs.rows import Attempt
from models.states import AttemptOutcome

MADE: dict[str, Any] = {"made": True}


def say_made(session: Session, hold: Hold) -> bool:
    """Should the lease be lost from here on, it is no crash of this job's. False when the attempt had ended.

    Said of one that waits long and not of each: the measures are written in any case when the attempt ends.
    """
    found = session.scalar(
        update(Attempt)
        .where(
            Attempt.job_id == hold.job_id,
            Attempt.number == hold.attempt,
            Attempt.worker == hold.owner,
            Attempt.outcome == AttemptOutcome.RUNNING,
        )
        .values(measures=MADE)
        .returning(Attempt.number)
        .execution_options(synchronize_session=False)
    )
    return found is not None


def is_made() -> ColumnElement[bool]:
    """WHERE: that was said of the attempt."""
    return func.jsonb_exists(Attempt.measures, *MADE)
