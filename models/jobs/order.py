"""The order of the queue: lane, priority, then start-time fair queueing between clients, then id.

Goyal, Vin & Cheng, "Start-time Fair Queueing" (SIGCOMM 1996): a job's start tag is max(virtual time, its client's last
finish tag), and its finish tag is the start tag plus cost / weight. Virtual time is the start tag of what was claimed
last. So one client's ten thousand jobs never starve another's one, and an idle client saves up no credit.
"""

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, desc, func, select, text, update
from sqlalchemy.orm import Session

from models.jobs.rows import FairClock, Job
from models.states import Pool

CLAIM_ORDER: tuple[Any, ...] = (Job.lane, desc(Job.priority), Job.start_tag, Job.id)


def claimable() -> tuple[ColumnElement[bool], ...]:
    """What may be claimed now. Mirrors the partial indexes of the claim."""
    return (
        Job.state == text("'queued'"),
        Job.available_at <= func.now(),
        Job.deadline_at.is_(None) | (Job.deadline_at > func.now()),
    )


def virtual_time(pool: Pool | BindParameter[Any]) -> ColumnElement[Any]:
    """The pool's clock as a scalar subquery."""
    found = select(FairClock.virtual_time).where(FairClock.pool == pool).scalar_subquery()
    return func.coalesce(found, 0.0)


def advance(session: Session, pool: Pool, start_tag: float) -> None:
    """Move the pool's clock forward. A lost write only blurs fairness for a moment: it does not wait for the disk."""
    session.execute(text("SET LOCAL synchronous_commit = off"))
    session.execute(
        update(FairClock)
        .where(FairClock.pool == pool, FairClock.virtual_time < start_tag)
        .values(virtual_time=start_tag)
    )
