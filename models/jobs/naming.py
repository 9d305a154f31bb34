"""The names of checkpoints that jobs train: a client's own may be trained anew, nobody else's is ever replaced."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.checkpoints import Checkpoint
from models.errors import InvalidInputError
from models.jobs.rows import Job


def name_is_free(session: Session, name: str, client_id: UUID) -> bool:
    """Whether a job of this client may register under it: nobody has it, or an earlier job of the same client."""
    owner = select(Job.client_id).where(Job.id == Checkpoint.made_by_job_id).scalar_subquery()
    taken = select(owner.label("owner")).where(Checkpoint.name == name, Checkpoint.enabled)
    row = session.execute(taken).one_or_none()
    return row is None or row.owner == client_id


def refuse_taken(session: Session, name: str, client_id: UUID) -> None:
    """In the transaction that would register it.

    Raises:
        InvalidInputError: somebody else took the name while the job ran.
    """
    if not name_is_free(session, name, client_id):
        text = f"The name {name!r} was given to another checkpoint meanwhile; train again under another."
        raise InvalidInputError(text, field="/params/name")
