"""T2, claim: the head of the queue and its mates, taken with SKIP LOCKED in one statement.

A batch forms from what waits when the device falls free; nobody waits for a batch to fill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, insert, literal, or_, select, text, union_all, update
from sqlalchemy.orm import Session, aliased

from models.base import seconds
from models.clients import Client
from models.jobs.announce import announce
from models.jobs.guard import Hold
from models.jobs.order import CLAIM_ORDER, claimable
from models.jobs.rows import Attempt, Job
from models.states import JobState, Pool


@dataclass(frozen=True)
class ClaimedJob:
    """One job of a batch, and the hold on it."""

    hold: Hold
    client_id: UUID
    task: str
    checkpoint_id: UUID
    params: dict[str, Any]
    images: int
    cost: int
    start_tag: float
    crash_count: int
    error_count: int
    isolate: bool
    """A suspect: to be run by a process that holds nothing else."""
    embed_prompt: bool
    reproduces: UUID | None
    """The job whose pictures these are compared with."""
    safety_threshold: float | None
    """Of the client: pictures that reach it are withheld."""
    queued_seconds: float
    """How long it waited for this claim since it became available."""

    @property
    def job_id(self) -> UUID:
        """Shorthand."""
        return self.hold.job_id


def claim(
    session: Session,
    *,
    pool: Pool,
    owner: str,
    max_images: int,
    lease_seconds: float,
    resident: Sequence[UUID] = (),
    affinity_seconds: float = 0.0,
    suspects: bool = True,
) -> list[ClaimedJob]:
    """Take the next batch for this pool, or nothing. All jobs of a batch share one batch key.

    A worker that names its `resident` checkpoints may pass over the head for work on one of them, in the same lane and
    at the same priority, until the head has waited `affinity_seconds`.

    A process that holds other jobs takes no `suspects`: a head that has to be isolated is not passed over, nothing is
    claimed until the process is free.
    """
    if resident and affinity_seconds > 0:
        preferred = _preference(session, pool, resident, affinity_seconds)
        if preferred is not None:
            taken = _take(session, preferred, owner, max_images, lease_seconds, suspects=suspects)
            if taken:
                return taken
    head = select(Job.id).where(*claimable(), Job.pool == pool).order_by(*CLAIM_ORDER)
    return _take(session, head, owner, max_images, lease_seconds, suspects=suspects)


def work_waits(session: Session, pool: Pool) -> bool:
    """Whether anything could be claimed now."""
    # In the claim's order, so that the planner walks the claim's index and never the table.
    head = select(Job.id).where(*claimable(), Job.pool == pool).order_by(*CLAIM_ORDER).limit(1)
    return session.scalar(head) is not None


def _preference(session: Session, pool: Pool, resident: Sequence[UUID], affinity_seconds: float) -> Select[UUID] | None:
    """A head among loaded checkpoints, when the true head is of another one and has not waited too long."""
    young = Job.available_at > func.now() - seconds(affinity_seconds)
    head = session.execute(
        select(Job.checkpoint_id, Job.lane, Job.priority, young.label("young"))
        .where(*claimable(), Job.pool == pool)
        .order_by(*CLAIM_ORDER)
        .limit(1)
    ).one_or_none()
    if head is None or head.checkpoint_id in resident or not head.young:
        return None
    return (
        select(Job.id)
        .where(
            *claimable(),
            Job.pool == pool,
            Job.checkpoint_id.in_(resident),
            Job.lane == head.lane,
            Job.priority == head.priority,
        )
        .order_by(*CLAIM_ORDER)
    )


def _take(
    session: Session, candidates: Select[UUID], owner: str, max_images: int, lease_seconds: float, *, suspects: bool
) -> list[ClaimedJob]:
    head = (
        candidates.add_columns(
            Job.batch_key, Job.images, Job.isolate, or_(Job.isolate, Job.reproducible).label("alone")
        )
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("head")
    )
    mate = aliased(Job, name="mate")
    room = select(func.greatest(literal(max_images) // head.c.images - 1, 0)).where(~head.c.alone).scalar_subquery()
    mates = (
        select(mate.id)
        .where(
            mate.state == text("'queued'"),
            mate.batch_key == select(head.c.batch_key).scalar_subquery(),
            mate.id != select(head.c.id).scalar_subquery(),
            mate.available_at <= func.now(),
            mate.deadline_at.is_(None) | (mate.deadline_at > func.now()),
            ~mate.isolate,
            ~mate.reproducible,
        )
        .order_by(mate.lane, mate.priority.desc(), mate.start_tag, mate.id)
        .limit(func.coalesce(room, 0))
        .with_for_update(skip_locked=True)
        .cte("mates")
    )
    allowed = select(head.c.id) if suspects else select(head.c.id).where(~head.c.isolate)
    threshold = select(Client.safety_threshold).where(Client.id == Job.client_id).scalar_subquery()
    chosen = union_all(allowed, select(mates.c.id)).subquery("chosen")
    rows = session.execute(
        update(Job)
        .where(Job.id == chosen.c.id, Job.state == text("'queued'"))
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            lease_owner=owner,
            lease_expires_at=func.now() + seconds(lease_seconds),
            started_at=func.now(),
        )
        .returning(
            Job.id,
            Job.attempt,
            Job.task,
            Job.checkpoint_id,
            Job.params,
            Job.images,
            Job.cost,
            Job.start_tag,
            Job.lane,
            Job.priority,
            Job.crash_count,
            Job.error_count,
            Job.isolate,
            Job.client_id,
            Job.embed_prompt,
            Job.reproduces,
            Job.source_job_id,
            threshold.label("safety_threshold"),
            func.extract("epoch", func.now() - Job.available_at).label("queued_seconds"),
        )
        .execution_options(synchronize_session=False)
    ).all()
    if not rows:
        return []
    session.execute(
        insert(Attempt),
        [{"job_id": row.id, "number": row.attempt, "worker": owner, "batch_jobs": len(rows)} for row in rows],
    )
    announce(session, [row.id for row in rows], "job.running", {"worker": owner})
    ordered = sorted(rows, key=lambda row: (row.lane, -row.priority, row.start_tag, row.id))
    return [
        ClaimedJob(
            hold=Hold(row.id, row.attempt, owner),
            client_id=row.client_id,
            task=row.task,
            checkpoint_id=row.checkpoint_id,
            params=row.params,
            images=row.images,
            cost=row.cost,
            start_tag=row.start_tag,
            crash_count=row.crash_count,
            error_count=row.error_count,
            isolate=row.isolate,
            embed_prompt=row.embed_prompt,
            reproduces=row.source_job_id if row.reproduces else None,
            safety_threshold=row.safety_threshold,
            queued_seconds=float(row.queued_seconds),
        )
        for row in ordered
    ]
