"""Which workers are alive, what they hold loaded, and on what device. For readiness, ETAs and the operators' view.

Never used to decide who owns a job: that is the lease's business alone.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, Text, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, enum_column, seconds
from models.states import Pool

FORGET_AFTER_HOURS = 24


class Worker(Base):
    """One worker process; its heartbeat keeps `seen_at` fresh."""

    __tablename__ = "workers"
    __table_args__ = (Index("ix_workers__pool_seen_at", "pool", "seen_at"),)

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    """Unique per process: host, pid and a random part. Also the lease owner of what it runs."""
    pool: Mapped[Pool] = mapped_column(enum_column(Pool))
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    device: Mapped[str] = mapped_column(Text)
    resident: Mapped[list[str]] = mapped_column(default=list)
    """Names of the checkpoints it holds loaded."""
    info: Mapped[dict[str, Any]] = mapped_column(default=dict)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


def say_alive(
    session: Session,
    *,
    name: str,
    pool: Pool,
    host: str,
    pid: int,
    device: str,
    resident: list[str],
    info: dict[str, Any],
) -> None:
    """Insert the worker's row or refresh it."""
    changing = {"resident": resident, "info": info, "device": device}
    row = insert(Worker).values(name=name, pool=pool, host=host, pid=pid, **changing)
    session.execute(
        row.on_conflict_do_update(index_elements=[Worker.name], set_={**changing, "seen_at": func.clock_timestamp()})
    )


def say_gone(session: Session, name: str) -> None:
    """The worker stops: forget it."""
    session.execute(delete(Worker).where(Worker.name == name))


def forget_dead(session: Session) -> int:
    """Delete the rows of workers that were not heard of for a day."""
    dead = delete(Worker).where(Worker.seen_at < func.now() - seconds(FORGET_AFTER_HOURS * 3600.0))
    return len(session.scalars(dead.returning(Worker.name)).all())


def alive(session: Session, within_seconds: float, pool: Pool | None = None) -> list[Worker]:
    """Workers heard of within the last `within_seconds`."""
    query = select(Worker).where(Worker.seen_at > func.now() - seconds(within_seconds))
    if pool is not None:
        query = query.where(Worker.pool == pool)
    return list(session.scalars(query.order_by(Worker.name)))
