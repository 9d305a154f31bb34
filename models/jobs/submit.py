"""T1, submit: quota, fair-share tags, job and event in one statement and one round trip.

The ticket is sent by the caller after commit; that it may get lost is by design (the sweeper sends it again).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Select, Text, bindparam, cast, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from models.base import seconds
from models.clients import Client
from models.errors import IdempotencyMismatchError, QuotaExceededError
from models.events import JobEvent
from models.jobs.needs import link, lock_needs, needs_of
from models.jobs.order import virtual_time
from models.jobs.prepare import Submission
from models.jobs.rows import Job, JobNeed
from models.session import Sessions
from models.states import LANE_RANKS, JobState, Pool

QUOTA_RETRY_AFTER_SECONDS = 5
FINISH_TAGS = {Pool.GPU: Client.gpu_finish_tag, Pool.CPU: Client.cpu_finish_tag}
_GIVEN = (
    "client_id", "state", "task", "checkpoint_id", "pool", "params", "tag", "lane", "priority", "cost", "images",
    "batch_key", "reproducible", "idempotency_key", "request_sha256", "source_job_id", "retention_seconds",
    "webhook_endpoint_id", "webhook_events", "reproduces", "embed_prompt", "chain_id",
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
    state: JobState = JobState.QUEUED
    previous: UUID | None = None
    """The job before it in its chain."""
    chain_id: UUID | None = None


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
            return _submitted(made)
        # No row: the key is taken, or the quota is full. Either way nothing of this transaction stays.
        session.rollback()
        return _explain(session, wanted)


def submit_chain(
    sessions: Sessions, chain: Sequence[Submission], also: Callable[[Session, UUID], None] | None = None
) -> list[Submitted]:
    """Insert jobs of which each may take the output of the one before it, all or none, in one transaction.

    The last carries the Idempotency-Key: a request that comes again gets that one alone. Jobs that others need are
    locked before the client is charged, in the order of their ids, as their publish would do it.

    Raises:
        QuotaExceededError: the client may not hold so many live jobs.
        IdempotencyMismatchError: the key was used for another body.
        ConflictError: a job that is needed did not succeed.
    """
    with sessions() as session:
        states = lock_needs(session, {need for wanted in chain for need in needs_of(wanted.params)})
        made: list[Submitted] = []
        for wanted in chain:
            before = made[-1].job_id if made else None
            linked = link(wanted, before, chain_id=made[0].job_id if made else None)
            needs = needs_of(linked.params)
            waits = any(states.get(need) is not JobState.SUCCEEDED for need in needs)
            state = JobState.WAITING if waits else JobState.QUEUED
            row = session.execute(_statement(linked.pool), _values(linked, state)).one_or_none()
            if row is None:
                session.rollback()
                return [_explain(session, chain[-1])]
            if needs:
                session.execute(insert(JobNeed), [{"job_id": row.id, "needs_id": need} for need in sorted(needs)])
            made.append(replace(_submitted(row), previous=before, chain_id=linked.chain_id))
        if len(made) > 1:
            first = made[0].job_id
            session.execute(
                update(Job).where(Job.id == first).values(chain_id=first).execution_options(synchronize_session=False)
            )
        if also is not None:
            also(session, made[-1].job_id)
        session.commit()
        return made


def _submitted(row: Any) -> Submitted:
    return Submitted(row.id, False, row.created_at, row.deadline_at, row.start_tag, row.state)


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
        .returning(Job.id, Job.state, Job.created_at, Job.deadline_at, Job.start_tag)
        .cte("job")
    )
    kind = cast(literal("job.").concat(job.c.state), Text)
    event = (
        insert(JobEvent)
        .from_select(["job_id", "kind", "data"], select(job.c.id, kind, cast(literal("{}"), JSONB)))
        .cte("event")
    )
    return select(job).add_cte(event)


def _values(wanted: Submission, state: JobState = JobState.QUEUED) -> dict[str, Any]:
    return {
        "client_id": wanted.client_id,
        "state": state,
        "task": wanted.task,
        "checkpoint_id": wanted.checkpoint_id,
        "pool": wanted.pool,
        "params": wanted.params.model_dump(mode="json", exclude_none=True),
        "tag": wanted.tag,
        "lane": LANE_RANKS[wanted.lane],
        "priority": wanted.priority,
        "cost": wanted.cost,
        "images": wanted.params.rows(),
        "batch_key": wanted.batch_key,
        "reproducible": wanted.reproducible,
        "idempotency_key": wanted.idempotency_key,
        "request_sha256": wanted.request_sha256,
        "source_job_id": wanted.source_job_id,
        "retention_seconds": wanted.retention_seconds,
        "webhook_endpoint_id": wanted.webhook_endpoint_id,
        "webhook_events": None if wanted.webhook_events is None else [*wanted.webhook_events],
        "deadline_seconds": wanted.deadline_seconds,
        "reproduces": wanted.reproduces,
        "embed_prompt": wanted.embed_prompt,
        "chain_id": wanted.chain_id,
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
