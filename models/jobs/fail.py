"""T5, fail or retry: a typed error ends an attempt, and its class and the job's budgets decide what follows."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.base import seconds
from models.errors import CheckpointUnavailableError, InvalidInputError, OutOfMemoryError, RunError, TransientError
from models.failpoints import reach
from models.jobs.announce import announce
from models.jobs.guard import NO_LEASE, Hold, end_attempt, give_back_quota, held
from models.jobs.rows import Attempt, Job
from models.settings import Settings
from models.states import AttemptOutcome, JobState

FATAL: tuple[type[RunError], ...] = (InvalidInputError, CheckpointUnavailableError)
"""Errors after which the same job could only fail again."""


class Failure(StrEnum):
    """What became of a failed attempt."""

    FAILED = "failed"
    RETRIED = "retried"
    CANCELED = "canceled"
    """It would have been tried again, but the client does not want it any more."""
    FENCED = "fenced"


@dataclass(frozen=True)
class Budgets:
    """What the job has used up before this failure."""

    error_count: int
    infrastructure_since: datetime | None
    now: datetime
    alone: bool


@dataclass(frozen=True)
class Verdict:
    """Fail for good, or try again after `delay_seconds`, alone if `isolate`."""

    final: bool
    delay_seconds: float = 0.0
    isolate: bool = False


def decide(error: RunError, budgets: Budgets, settings: Settings) -> Verdict:
    """The policy of retries, as a pure function (but for its jitter)."""
    if isinstance(error, FATAL):
        return Verdict(final=True)
    if isinstance(error, OutOfMemoryError):
        # With company it may have been the batch's size; alone there is nothing left to make smaller.
        return Verdict(final=budgets.alone, isolate=True)
    if isinstance(error, TransientError):
        since = budgets.infrastructure_since or budgets.now
        spent = budgets.now - since > timedelta(seconds=settings.infrastructure_budget_seconds)
        return Verdict(final=spent, delay_seconds=_backoff(3, settings))
    failures = budgets.error_count + 1
    return Verdict(final=failures >= settings.max_errors, delay_seconds=_backoff(failures, settings), isolate=True)


def fail(session: Session, hold: Hold, error: RunError, settings: Settings, measures: dict[str, Any]) -> Failure:
    """Running → failed or queued, under the guard; canceled instead of queued if that was asked for."""
    row = session.execute(
        select(
            Job.client_id,
            Job.error_count,
            Job.infrastructure_since,
            Job.cancel_requested,
            func.now().label("now"),
            Attempt.batch_jobs,
        )
        .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.number == Job.attempt))
        .where(*held(hold))
        .with_for_update(of=Job, key_share=True)
    ).one_or_none()
    if row is None:
        return Failure.FENCED
    reach("before_fail")
    budgets = Budgets(row.error_count, row.infrastructure_since, row.now, alone=row.batch_jobs == 1)
    verdict = decide(error, budgets, settings)
    canceled = row.cancel_requested and not verdict.final
    infrastructure = isinstance(error, TransientError)
    counters: dict[str, Any] = {
        "error_count": Job.error_count + (0 if infrastructure else 1),
        "infrastructure_since": func.coalesce(Job.infrastructure_since, func.now()) if infrastructure else None,
    }
    if verdict.final:
        values: dict[str, Any] = {
            "state": JobState.FAILED,
            "error_code": error.code,
            "error_detail": error.detail,
            "finished_at": func.now(),
        }
    elif canceled:
        values = {"state": JobState.CANCELED, "finished_at": func.now()}
    else:
        values = {
            "state": JobState.QUEUED,
            "isolate": Job.isolate if not verdict.isolate else True,
            "available_at": func.now() + seconds(verdict.delay_seconds),
        }
    session.execute(
        update(Job).where(*held(hold)).values(values | counters | NO_LEASE).execution_options(synchronize_session=False)
    )
    how = AttemptOutcome.CANCELED if canceled else AttemptOutcome.RETRIED
    outcome = AttemptOutcome.FAILED if verdict.final else how
    end_attempt(
        session,
        hold.job_id,
        hold.attempt,
        outcome,
        error_code=error.code,
        error_detail=error.detail,
        measures=measures,
    )
    if verdict.final:
        announce(session, [hold.job_id], "job.failed", {"error_code": error.code})
        give_back_quota(session, row.client_id)
        return Failure.FAILED
    if canceled:
        announce(session, [hold.job_id], "job.canceled")
        give_back_quota(session, row.client_id)
        return Failure.CANCELED
    announce(session, [hold.job_id], "job.queued", {"error_code": error.code, "delay_seconds": verdict.delay_seconds})
    return Failure.RETRIED


def _backoff(failures: int, settings: Settings) -> float:
    """Exponential with full jitter in the upper half, so that retries of one outage do not come back together."""
    ceiling = min(settings.retry_base_seconds * 2.0 ** (failures - 1), settings.retry_max_seconds)
    return ceiling * random.uniform(0.5, 1.0)
