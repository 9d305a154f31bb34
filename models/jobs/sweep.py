"""T6 and T9, what the sweeper does to jobs: lost leases, overdue deadlines, old results, old idempotency keys.

Two or more sweepers may run: every verb takes its rows with SKIP LOCKED, and clients in one order.
Rows are locked FOR NO KEY UPDATE (`key_share`): a submit that copies such a job holds its client's row already and
shares the job's key, so that a full lock would deadlock with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.orm import Session, aliased

from models.artifacts import Artifact
from models.base import seconds
from models.errors import WORKER_LOST
from models.jobs.announce import announce
from models.jobs.guard import NO_LEASE, end_attempt, give_back_quota
from models.jobs.made import is_made
from models.jobs.rows import Attempt, Job
from models.states import AttemptOutcome, JobState

BATCH_ROWS = 100


@dataclass(frozen=True)
class Reaped:
    """What one pass over expired leases did."""

    requeued: int
    failed: int
    canceled: int


def reap_lost(session: Session, max_crashes: int) -> Reaped:
    """Running → queued when the lease ran out; → failed at the crash cap; → canceled if that had been asked for.

    A lost lease counts as a crash only when the job was alone, in its batch and in its worker: in company any of the
    others may have been the cause, so all of them run alone next time and the guilty one shows itself. Nor does it
    count when the pictures were made and only waited for S3.
    """
    other = aliased(Job, name="other")
    company = exists().where(other.state == text("'running'"), other.lease_owner == Job.lease_owner, other.id != Job.id)
    rows = session.execute(
        select(
            Job.id,
            Job.client_id,
            Job.attempt,
            Job.crash_count,
            Job.cancel_requested,
            ((Attempt.batch_jobs == 1) & ~company & ~is_made()).label("alone"),
        )
        .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt))
        .where(Job.state == text("'running'"), Job.lease_expires_at < func.now())
        .order_by(Job.client_id, Job.id)
        .limit(BATCH_ROWS)
        .with_for_update(of=Job, skip_locked=True, key_share=True)
    ).all()
    counts = {JobState.QUEUED: 0, JobState.FAILED: 0, JobState.CANCELED: 0}
    for row in rows:
        crashes = row.crash_count + (1 if row.alone else 0)
        state = JobState.QUEUED
        if row.cancel_requested:
            state = JobState.CANCELED
        elif crashes >= max_crashes:
            state = JobState.FAILED
        counts[state] += 1
        _end_lost(session, row.id, row.attempt, state, crashes, alone=row.alone)
        if state is not JobState.QUEUED:
            give_back_quota(session, row.client_id)
    return Reaped(counts[JobState.QUEUED], counts[JobState.FAILED], counts[JobState.CANCELED])


def _end_lost(session: Session, job_id: UUID, attempt: int, state: JobState, crashes: int, *, alone: bool) -> None:
    values: dict[str, Any] = {"state": state, "crash_count": crashes, "isolate": True, **NO_LEASE}
    data: dict[str, Any] = {"reason": "lease_lost"}
    if state is JobState.QUEUED:
        values["available_at"] = func.now()
    else:
        values["finished_at"] = func.now()
    if state is JobState.FAILED:
        detail = f"The worker died or hung {crashes} times while this job ran alone on it."
        values |= {"error_code": WORKER_LOST, "error_detail": detail}
        data = {"error_code": WORKER_LOST}
    session.execute(update(Job).where(Job.id == job_id).values(values).execution_options(synchronize_session=False))
    measures = {"alone": alone}
    end_attempt(session, job_id, attempt, AttemptOutcome.LOST, error_code="lease_lost", measures=measures)
    announce(session, [job_id], f"job.{state.value}", data)


def expire_overdue(session: Session) -> int:
    """Queued, waiting → expired where the deadline passed before a worker started the job."""
    rows = session.execute(
        select(Job.id, Job.client_id)
        .where(text("state IN ('queued', 'waiting')"), Job.deadline_at < func.now())
        .order_by(Job.client_id, Job.id)
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    for row in rows:
        session.execute(
            update(Job)
            .where(Job.id == row.id)
            .values(state=JobState.EXPIRED, finished_at=func.now())
            .execution_options(synchronize_session=False)
        )
        give_back_quota(session, row.client_id)
    announce(session, [row.id for row in rows], "job.expired")
    return len(rows)


def delete_expired_results(session: Session) -> Sequence[str]:
    """Forget the artifacts of jobs whose retention ended. Returns the keys, to be deleted after commit."""
    jobs = session.scalars(
        select(Job.id)
        .where(Job.results_deleted_at.is_(None), Job.results_expire_at < func.now())
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True)
    ).all()
    if not jobs:
        return []
    keys = session.scalars(delete(Artifact).where(Artifact.job_id.in_(jobs)).returning(Artifact.key)).all()
    session.execute(
        update(Job)
        .where(Job.id.in_(jobs))
        .values(results_deleted_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return keys


def forget_idempotency_keys(session: Session, hours: int) -> int:
    """Free the keys of jobs older than `hours`, so that clients may use them again."""
    old = (
        select(Job.id)
        .where(Job.idempotency_key.is_not(None), Job.created_at < func.now() - seconds(hours * 3600.0))
        .limit(1000)
        .with_for_update(skip_locked=True)
    )
    rows = session.scalars(
        update(Job)
        .where(Job.id.in_(old))
        .values(idempotency_key=None, request_sha256=None)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(rows)
