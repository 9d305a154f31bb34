"""T1, submit: quota, fair-share tags, job and event in one statement and one round trip.

The ticket is sent by the caller after commit; that it may get lost is by design (the sweeper sends it again).
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, cast, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from models.base import seconds
from models.clients import Client
from models.errors import IdempotencyMismatchError, QuotaExceededError
from models.events import JobEvent
from models.jobs.order import virtual_time
from models.jobs.prepare import Submission
from models.jobs.rows import Job
from models.session import Sessions
from models.states import LANE_RANKS, JobState

QUOTA_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True)
class Submitted:
    """The job's id, and whether an earlier request with the same Idempotency-Key had made it."""

    job_id: UUID
    replayed: bool


def submit(sessions: Sessions, wanted: Submission) -> Submitted:
    """Insert the job, in a transaction of its own.

    Raises:
        QuotaExceededError: the client holds as many live jobs as it may.
        IdempotencyMismatchError: the key was used for another body.
    """
    with sessions() as session:
        job_id = session.execute(_statement(wanted)).scalar_one_or_none()
        if job_id is not None:
            session.commit()
            return Submitted(job_id, replayed=False)
        # No row: the key is taken, or the quota is full. Either way nothing of this transaction stays.
        session.rollback()
        return _explain(session, wanted)


def _statement(wanted: Submission) -> Select[UUID]:
    """Lock and charge the client; insert the job if that passed; write the event if the job is new."""
    share = wanted.cost / Client.weight
    charged = (
        update(Client)
        .where(Client.id == wanted.client_id, Client.live_jobs < Client.max_live_jobs)
        .values(
            live_jobs=Client.live_jobs + 1,
            finish_tag=func.greatest(Client.finish_tag, virtual_time(wanted.pool)) + share,
        )
        .returning((Client.finish_tag - share).label("start_tag"))
        .cte("charged")
    )
    columns = _columns(wanted)
    job = (
        upsert(Job)
        .from_select([*columns, "start_tag"], select(*columns.values(), charged.c.start_tag))
        .on_conflict_do_nothing(index_elements=[Job.client_id, Job.idempotency_key])
        .returning(Job.id)
        .cte("job")
    )
    event = (
        insert(JobEvent)
        .from_select(["job_id", "kind", "data"], select(job.c.id, literal("job.queued"), cast(literal("{}"), JSONB)))
        .cte("event")
    )
    return select(job.c.id).add_cte(event)


def _columns(wanted: Submission) -> dict[str, Any]:
    table = Job.__table__.c
    given: dict[str, Any] = {
        "client_id": wanted.client_id,
        "state": JobState.QUEUED,
        "task": wanted.task,
        "checkpoint_id": wanted.checkpoint_id,
        "pool": wanted.pool,
        "params": wanted.params.model_dump(mode="json"),
        "tag": wanted.tag,
        "lane": LANE_RANKS[wanted.lane],
        "priority": wanted.priority,
        "cost": wanted.cost,
        "images": wanted.params.num_images,
        "batch_key": wanted.batch_key,
        "reproducible": wanted.reproducible,
        "idempotency_key": wanted.idempotency_key,
        "request_sha256": wanted.request_sha256,
        "source_job_id": wanted.source_job_id,
        "retention_seconds": wanted.retention_seconds,
    }
    columns: dict[str, Any] = {
        name: cast(literal(value, table[name].type), table[name].type) for name, value in given.items()
    }
    if wanted.deadline_seconds is not None:
        columns["deadline_at"] = func.now() + seconds(wanted.deadline_seconds)
    return columns


def _explain(session: Session, wanted: Submission) -> Submitted:
    if wanted.idempotency_key is not None:
        earlier = session.execute(
            select(Job.id, Job.request_sha256).where(
                Job.client_id == wanted.client_id, Job.idempotency_key == wanted.idempotency_key
            )
        ).one_or_none()
        if earlier is not None:
            if earlier.request_sha256 != wanted.request_sha256:
                raise IdempotencyMismatchError(
                    "This Idempotency-Key came with another body in the last 24 hours; send a new key.",
                    job_id=str(earlier.id),
                )
            return Submitted(earlier.id, replayed=True)
    limit = session.scalar(select(Client.max_live_jobs).where(Client.id == wanted.client_id))
    raise QuotaExceededError(
        f"This client holds {limit} waiting and running jobs, as many as it may; wait for some to end.",
        limit=limit,
        retry_after_seconds=QUOTA_RETRY_AFTER_SECONDS,
    )
