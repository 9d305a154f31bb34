"""T4, publish: the result becomes visible, once. Whatever else wanted to end this attempt comes too late."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from models.artifacts import Artifact
from models.base import seconds
from models.checkpoints import register
from models.checkpoints.registry import Registration
from models.failpoints import reach
from models.jobs.announce import announce
from models.jobs.guard import NO_LEASE, Hold, end_attempt, give_back_quota, held
from models.jobs.naming import refuse_taken
from models.jobs.rows import Job
from models.states import AttemptOutcome, JobState


@dataclass(frozen=True)
class Output:
    """One object that was put: what its artifact row will say."""

    index: int
    key: str
    sha256: str
    media_type: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    name: str | None = None
    pixels_sha256: str | None = None


class Published(StrEnum):
    """What became of a publish."""

    DONE = "done"
    """This call published it."""
    ALREADY = "already"
    """An earlier call for the same attempt had: its answer was lost."""
    FENCED = "fenced"
    """The attempt is no longer ours; the result is dropped and the objects become garbage."""


def publish(
    session: Session,
    hold: Hold,
    outputs: Sequence[Output],
    measures: dict[str, Any],
    result: dict[str, Any] | None = None,
    trained: Registration | None = None,
) -> Published:
    """Running → succeeded, with its artifacts, its event and its client's quota, in the caller's transaction.

    `result` is what the run says beside its outputs; a checkpoint that it `trained` is registered with it.

    Raises:
        InvalidInputError: the name of that checkpoint is somebody else's; nothing of the transaction may stay.
    """
    images = sum(output.name is None for output in outputs)
    row = session.execute(
        update(Job)
        .where(*held(hold))
        .values(
            state=JobState.SUCCEEDED,
            result={**(result or {}), "images": images, "artifacts": len(outputs), "attempt": hold.attempt},
            finished_at=func.now(),
            results_expire_at=func.now() + seconds(Job.retention_seconds),
            infrastructure_since=None,
            **NO_LEASE,
        )
        .returning(Job.client_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return _read_again(session, hold)
    reach("before_publish")
    if outputs:
        session.execute(
            insert(Artifact),
            [{"job_id": hold.job_id, "attempt": hold.attempt, **vars(output)} for output in outputs],
        )
    if trained is not None:
        refuse_taken(session, trained.name, row.client_id)
        register(session, trained, made_by=hold.job_id)
    end_attempt(session, hold.job_id, hold.attempt, AttemptOutcome.SUCCEEDED, measures=measures)
    announce(session, [hold.job_id], "job.succeeded", {"images": images})
    give_back_quota(session, row.client_id)
    return Published.DONE


def _read_again(session: Session, hold: Hold) -> Published:
    row = session.execute(select(Job.state, Job.attempt).where(Job.id == hold.job_id)).one_or_none()
    ours = row is not None and row.state == JobState.SUCCEEDED and row.attempt == hold.attempt
    return Published.ALREADY if ours else Published.FENCED
