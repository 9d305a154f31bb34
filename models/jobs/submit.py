"""T1, submit: quota, fair-share tags, job and event in one statement and one round trip.

The ticket is sent by the caller after commit; that it may get lost is by design (the sweeper sends it again).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Select, bindparam, cast, func, insert, literal, select, update
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
from models.states import LANE_RANKS, JobState, Pool

QUOTA_RETRY_AFTER_SECONDS = 5
FINISH_TAGS = {Pool.GPU: Client.gpu_finish_tag, Pool.CPU: Client.cpu_finish_tag}
_GIVEN = (
    "client_id", "state", "task", "checkpoint_id", "pool", "params", "tag", "lane", "priority", "cost", "images",
    "batch_key", "reproducible", "idempotency_key", "request_sha256", "source_job_id", "retention_seconds",
    "webhook_endpoint_id", "webhook_events",
)  # fmt: skip
"""Columns that a submission gives as they are."""


@dataclass(frozen=True)
class Submitted:
    """The job's id, and whether an earlier request with the same Idempotency-Key had made it.

    Of a new job also what Postgres decided, so that it need not be read back.
    """

    job_id: UUID
    replayed: bool
    created_at: datetime | None = None
    deadline_at: datetime | None = None
    start_tag: float = 0.0


def submit(sessions: Sessions, wanted: Submission, also: Callable[[Session, UUID], None] | None = None) -> Submitted:
    """Insert the job, in a transaction of its own; `also` is called within it once the job is new.

    Raises:
        QuotaExceededError: the client holds as many live jobs as it may.
        IdempotencyMismatchError: the key was used for another body.
    """
    with sessions() as session:
        made = session.execute(_statement(wanted.pool), _values(wanted)).one_or_none()
        if made is not None:
            if also is not None:
                also(session, made.id)
            session.commit()
            return Submitted(made.id, False, made.created_at, made.deadline_at, made.start_tag)
        # No row: the key is taken, or the quota is full. Either way nothing of this transaction stays.
        session.rollback()
        return _explain(session, wanted)


@lru_cache
def _statement(pool: Pool) -> Select[Any]:
    """Lock and charge the client; insert the job if that passed; write the event if the job is new.

    Built once for each pool: making and caching a statement of this size costs more than sending it.
    """
    given = {name: bindparam(name, type_=Job.__table__.c[name].type) for name in _GIVEN}
    share = given["cost"] / Client.weight
    finish_tag = FINISH_TAGS[pool]
    charged = (
        update(Client)
        .where(Client.id == given["client_id"], Client.live_jobs < Client.max_live_jobs)
        .values(
            {
                Client.live_jobs: Client.live_jobs + 1,
                finish_tag: func.greatest(finish_tag, virtual_time(given["pool"])) + share,
            }
        )
        .returning((finish_tag - share).label("start_tag"))
        .cte("charged")
    )
    columns: dict[str, Any] = {name: cast(value, value.type) for name, value in given.items()}
    columns["deadline_at"] = func.now() + seconds(cast(bindparam("deadline_seconds"), Float))
    job = (
        upsert(Job)
        .from_select([*columns, "start_tag"], select(*columns.values(), charged.c.start_tag))
        .on_conflict_do_nothing(index_elements=[Job.client_id, Job.idempotency_key])
        .returning(Job.id, Job.created_at, Job.deadline_at, Job.start_tag)
        .cte("job")
    )
    event = (
        insert(JobEvent)
        .from_select(["job_id", "kind", "data"], select(job.c.id, literal("job.queued"), cast(literal("{}"), JSONB)))
        .cte("event")
    )
    return select(job).add_cte(event)


def _values(wanted: Submission) -> dict[str, Any]:
    return {
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
        "webhook_endpoint_id": wanted.webhook_endpoint_id,
        "webhook_events": None if wanted.webhook_events is None else [*wanted.webhook_events],
        "deadline_seconds": wanted.deadline_seconds,
    }


def find_earlier(session: Session, client_id: UUID, key: str, request_sha256: bytes | None) -> Submitted | None:
    """The job that this client made with this Idempotency-Key.

    Raises:
        IdempotencyMismatchError: it was made by another body.
    """
    earlier = session.execute(
        select(Job.id, Job.request_sha256).where(Job.client_id == client_id, Job.idempotency_key == key)
    ).one_or_none()
    if earlier is None:
        return None
    if earlier.request_sha256 != request_sha256:
        raise IdempotencyMismatchError(
            "This Idempotency-Key came with another body in the last 24 hours; send a new key.",
            job_id=str(earlier.id),
        )
    return Submitted(earlier.id, replayed=True)


def _explain(session: Session, wanted: Submission) -> Submitted:
    if wanted.idempotency_key is not None:
        earlier = find_earlier(session, wanted.client_id, wanted.idempotency_key, wanted.request_sha256)
        if earlier is not None:
            return earlier
    limit = session.scalar(select(Client.max_live_jobs).where(Client.id == wanted.client_id))
    raise QuotaExceededError(
        f"This client holds {limit} waiting and running jobs, as many as it may; wait for some to end.",
        limit=limit,
        retry_after_seconds=QUOTA_RETRY_AFTER_SECONDS,
    )
