"""The event stream of a job: one row per transition, written in the transition's own transaction.

Streams read it by id (`Last-Event-ID`), webhooks will be fed from it. Step progress is not an event: it is lossy,
many times a second, and lives in Redis (`models.progress`). A NOTIFY goes out with each row, so that whoever waits
wakes at once.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, func, insert, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, BigKey, CreatedAt

CHANNEL = "safelight_jobs"
"""LISTEN here for job ids whose state changed."""


class JobEvent(Base):
    """Something that happened to a job. `kind` is `job.<state>` or `job.cancel_requested`."""

    __tablename__ = "job_events"
    __table_args__ = (Index("ix_job_events__job_id_id", "job_id", "id"),)

    id: Mapped[BigKey]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[CreatedAt]


def record(session: Session, job_ids: Iterable[UUID], kind: str, data: dict[str, Any] | None = None) -> None:
    """Append one event for each job, and notify whoever listens when the transaction commits."""
    rows = [{"job_id": job_id, "kind": kind, "data": data or {}} for job_id in job_ids]
    if not rows:
        return
    session.execute(insert(JobEvent), rows)
    spoken_of = func.unnest(array([str(row["job_id"]) for row in rows], type_=Text)).column_valued("job_id")
    session.execute(select(func.pg_notify(CHANNEL, spoken_of)))


def since(session: Session, job_id: UUID, after_id: int, limit: int = 200) -> list[JobEvent]:
    """The job's events with an id above `after_id`, oldest first."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > after_id).order_by(JobEvent.id).limit(limit)
    return list(session.scalars(query))
