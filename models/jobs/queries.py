"""Reading jobs: one with its relations, a client's list by cursor, the place in the queue and the ETA."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, select, text, tuple_, union, union_all
from sqlalchemy.orm import Session, selectinload

from models.artifacts import Artifact
from models.checkpoints import Checkpoint
from models.errors import FieldError, ValidationFailedError
from models.jobs.order import CLAIM_ORDER, claimable
from models.jobs.rows import Job
from models.states import JobState, Pool

POSITION_CAP = 1000
"""Places beyond this are not counted one by one, so that asking costs the same however long the queue is."""


@dataclass(frozen=True)
class JobFilter:
    """What a list is narrowed to; `client_id` None means every client (operators)."""

    client_id: UUID | None = None
    states: frozenset[JobState] = frozenset()
    task: str | None = None
    checkpoint: str | None = None
    """By name: every revision of it."""
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True)
class Page:
    """One page, newest first; `cursor` leads to the next, None at the end."""

    jobs: Sequence[Job]
    cursor: str | None


@dataclass(frozen=True)
class Place:
    """Where a queued job stands: jobs and cost before it. `capped` when there are more than were counted."""

    position: int
    cost_ahead: int
    capped: bool


def get_job(session: Session, job_id: UUID, client_id: UUID | None, *, whole: bool = True) -> Job | None:
    """A job that this client may see, with attempts, artifacts and checkpoint if `whole`."""
    query = select(Job).where(Job.id == job_id)
    if client_id is not None:
        query = query.where(Job.client_id == client_id)
    if whole:
        query = query.options(selectinload(Job.attempts), selectinload(Job.artifacts), selectinload(Job.checkpoint))
    return session.scalars(query).one_or_none()


def get_states(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, JobState]:
    """The states of many jobs at once, for whoever waits."""
    rows = session.execute(select(Job.id, Job.state).where(Job.id.in_(job_ids)))
    return {row.id: row.state for row in rows}


def list_jobs(session: Session, wanted: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
    """A page of jobs, newest first.

    Raises:
        ValidationFailedError: a cursor that we did not make.
    """
    query = (
        select(Job)
        .where(*_conditions(session, wanted))
        .order_by(Job.created_at.desc(), Job.id.desc())
        .options(selectinload(Job.checkpoint), selectinload(Job.artifacts))
        .limit(limit + 1)
    )
    if cursor is not None:
        query = query.where(tuple_(Job.created_at, Job.id) < tuple_(*_read_cursor(cursor)))
    rows = list(session.scalars(query))
    more = len(rows) > limit
    return Page(rows[:limit], _write_cursor(rows[limit - 1]) if more else None)


def place_in_queue(session: Session, job: Job) -> Place:
    """How many jobs will be claimed before this one, and their cost; only meaningful while it is queued."""
    found = session.execute(
        _ahead(),
        {"pool": job.pool, "lane": job.lane, "priority": job.priority, "start_tag": job.start_tag, "id": job.id},
    ).one()
    return Place(min(found.jobs, POSITION_CAP), int(found.cost), capped=found.jobs > POSITION_CAP)


@lru_cache(maxsize=1)
def _ahead() -> Select[int, int]:
    """Count and cost of what comes before: one range of the claim's index for each way to come before.

    A single OR would be a filter, and would read on to the end of the queue for a job near its head.
    """
    lane, priority = bindparam("lane", type_=Job.lane.type), bindparam("priority", type_=Job.priority.type)
    here = tuple_(bindparam("start_tag", type_=Job.start_tag.type), bindparam("id", type_=Job.id.type))
    ranges = (
        (Job.lane < lane,),
        (Job.lane == lane, Job.priority > priority),
        (Job.lane == lane, Job.priority == priority, tuple_(Job.start_tag, Job.id) < here),
    )
    parts = [
        select(Job.cost)
        .where(Job.state == text("'queued'"), Job.pool == bindparam("pool", type_=Job.pool.type), *conditions)
        .order_by(*CLAIM_ORDER)
        .limit(POSITION_CAP + 1)
        .subquery()
        .select()
        for conditions in ranges
    ]
    ahead = union_all(*parts).limit(POSITION_CAP + 1).subquery()
    return select(func.count().label("jobs"), func.coalesce(func.sum(ahead.c.cost), 0).label("cost")).select_from(ahead)


@dataclass(frozen=True)
class Twin:
    """An artifact that is the same picture."""

    artifact_id: UUID
    job_id: UUID
    client_id: UUID
    checkpoint: str
    sha256: str
    created_at: datetime


MOST_TWINS = 20


def find_twins(session: Session, sha256: str, pixels_sha256: str | None) -> list[Twin]:
    """Artifacts with that file or those pixels, the oldest first; two lookups, each by its own index."""
    same = (Artifact.sha256 == sha256, *((Artifact.pixels_sha256 == pixels_sha256,) if pixels_sha256 else ()))
    found = union(*(select(Artifact.id).where(each) for each in same)).subquery()
    query = (
        select(Artifact.id, Artifact.job_id, Job.client_id, Checkpoint.name, Artifact.sha256, Artifact.created_at)
        .join(found, found.c.id == Artifact.id)
        .join(Job, Job.id == Artifact.job_id)
        .join(Checkpoint, Checkpoint.id == Job.checkpoint_id)
        .order_by(Artifact.created_at, Artifact.id)
        .limit(MOST_TWINS)
    )
    return [Twin(*row) for row in session.execute(query)]


def queue_depths(session: Session, cap: int = 10_000) -> dict[Pool, int]:
    """Claimable jobs per pool, counted up to `cap`."""
    depths = {}
    for pool in Pool:
        head = select(Job.id).where(*claimable(), Job.pool == pool).order_by(*CLAIM_ORDER).limit(cap).subquery()
        depths[pool] = session.scalar(select(func.count()).select_from(head)) or 0
    return depths


def learn_speed(session: Session, checkpoint_id: UUID, seconds_per_step: float, weight: float = 0.2) -> None:
    """Move the checkpoint's measured speed towards a new figure."""
    old = func.coalesce(Checkpoint.seconds_per_step, seconds_per_step)
    session.execute(
        Checkpoint.__table__.update()  # type: ignore[attr-defined]
        .where(Checkpoint.id == checkpoint_id)
        .values(seconds_per_step=old * (1 - weight) + seconds_per_step * weight)
    )


def _conditions(session: Session, wanted: JobFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.client_id is not None:
        found.append(Job.client_id == wanted.client_id)
    if wanted.states:
        found.append(Job.state.in_(sorted(wanted.states)))
    if wanted.task is not None:
        found.append(Job.task == wanted.task)
    if wanted.checkpoint is not None:
        # Looked up first: joined to its checkpoints, the list would be read to its end by the index on time alone.
        revisions = session.scalars(select(Checkpoint.id).where(Checkpoint.name == wanted.checkpoint)).all()
        found.append(Job.checkpoint_id == revisions[0] if len(revisions) == 1 else Job.checkpoint_id.in_(revisions))
    if wanted.tag is not None:
        found.append(Job.tag == wanted.tag)
    if wanted.created_after is not None:
        found.append(Job.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        found.append(Job.created_at < wanted.created_before)
    return found


def _write_cursor(job: Job) -> str:
    raw = json.dumps([job.created_at.isoformat(), str(job.id)]).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[Any, Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, job_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        moment = datetime.fromisoformat(created_at)
        return moment.astimezone(UTC), UUID(job_id)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        wrong = FieldError("/cursor", "bad_cursor", "Not a cursor of this API; leave it out to start again.")
        raise ValidationFailedError([wrong]) from error
