"""The event stream of a job: one row per transition, written in the transition's own transaction.

Streams read it by id (`Last-Event-ID`); webhooks have an outbox of their own (`models.webhooks`). Step progress is not
an event: it is lossy, many times a second, and lives in Redis (`models.progress`). A NOTIFY goes out with each row, so
that whoever waits wakes at once.
"""

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, Table, Text, Uuid, bindparam, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, BigKey, CreatedAt

CHANNEL = "safelight_jobs"
"""LISTEN here for job ids whose state changed."""
CANCEL_CHANNEL = "safelight_cancels"
"""Only those of running jobs that shall stop: a worker need not wake for each thing that happens to any job."""


class JobEvent(Base):
    """Something that happened to a job. `kind` is `job.<state>` or `job.cancel_requested`."""

    __tablename__ = "job_events"
    __table_args__ = (Index("ix_job_events__job_id_id", "job_id", "id"),)

    id: Mapped[BigKey]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[CreatedAt]


_EVENTS = cast(Table, JobEvent.__table__)
_RECORD = (
    insert(_EVENTS)
    .from_select(
        ["job_id", "kind", "data"],
        select(
            func.unnest(bindparam("job_ids", type_=ARRAY(Uuid))),
            bindparam("kind", type_=Text),
            bindparam("data", type_=_EVENTS.c.data.type),
        ),
    )
    .returning(func.pg_notify(CHANNEL, sql_cast(_EVENTS.c.job_id, Text)))
)
"""One trip for both."""


def record(session: Session, job_ids: Iterable[UUID], kind: str, data: dict[str, Any] | None = None) -> None:
    """Append one event for each job, and notify whoever listens when the transaction commits."""
    wanted = list(job_ids)
    if wanted:
        session.execute(_RECORD, {"job_ids": wanted, "kind": kind, "data": data or {}})


def since(session: Session, job_id: UUID, after_id: int, limit: int = 200) -> list[JobEvent]:
    """The job's events with an id above `after_id`, oldest first."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > after_id).order_by(JobEvent.id).limit(limit)
    return list(session.scalars(query))
