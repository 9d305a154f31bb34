"""The guard that every worker's verb stands behind: this job, this attempt, this owner, still running."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, text, update
from sqlalchemy.orm import Session

from models.clients import Client
from models.jobs.rows import Attempt, Job
from models.states import AttemptOutcome


@dataclass(frozen=True)
class Hold:
    """What a claim gave a worker: the right to end this attempt, while the lease lasts."""

    job_id: UUID
    attempt: int
    owner: str


def held(hold: Hold) -> tuple[ColumnElement[bool], ...]:
    """WHERE clauses that only the holder of the current attempt passes."""
    return (
        Job.id == hold.job_id,
        Job.attempt == hold.attempt,
        Job.lease_owner == hold.owner,
        Job.state == text("'running'"),
    )


def end_attempt(
    session: Session,
    job_id: UUID,
    number: int,
    outcome: AttemptOutcome,
    *,
    error_code: str | None = None,
    error_detail: str | None = None,
    measures: dict[str, Any] | None = None,
) -> None:
    """Write the outcome of a running attempt; one that has an outcome keeps it."""
    values: dict[str, Any] = {
        "outcome": outcome,
        "finished_at": func.now(),
        "error_code": error_code,
        "error_detail": error_detail,
    }
    if measures is not None:
        values["measures"] = measures
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == number, Attempt.outcome == AttemptOutcome.RUNNING)
        .values(values)
    )


def give_back_quota(session: Session, client_id: UUID, jobs: int = 1) -> None:
    """A job of the client ended: it may submit another."""
    session.execute(update(Client).where(Client.id == client_id).values(live_jobs=Client.live_jobs - jobs))


NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None}
"""What every way out of `running` sets."""
