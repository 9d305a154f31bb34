"""What every transition of a job says: its event, what webhooks will tell of it, and what becomes of those that wait.

All in the transaction that makes it true: a job whose upstream is published is queued in the same moment.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.orm import Session, aliased

from models.errors import UPSTREAM_FAILED
from models.events import record
from models.jobs.guard import give_back_quota
from models.jobs.rows import Job, JobNeed
from models.states import JobState
from models.webhooks.kinds import KINDS
from models.webhooks.outbox import enqueue

SUCCEEDED = "job.succeeded"
CANCELED = "job.canceled"
ENDINGS = frozenset({SUCCEEDED, "job.failed", CANCELED, "job.expired"})


def announce(session: Session, job_ids: Iterable[UUID], kind: str, data: dict[str, Any] | None = None) -> None:
    """Record the event of each job, write the messages if webhooks tell of this kind, move on what waited for it.

    Call it once the transition's rows are written: a message shows the job as it then is.
    """
    jobs = list(job_ids)
    record(session, jobs, kind, data)
    if kind in KINDS:
        enqueue(session, jobs, kind)
    if kind in ENDINGS and jobs:
        _follow(session, jobs, kind)


def _follow(session: Session, ended: Sequence[UUID], kind: str) -> None:
    """Waiting → queued when all that a job needs has succeeded; → failed or canceled with what it needs.

    The jobs that wait are locked before it is looked whether anything is still missing. Without that two upstream jobs
    that are published at once would each see the other as missing, and nobody would queue the third.
    """
    rows = session.execute(
        select(Job.id, Job.client_id)
        .join(JobNeed, JobNeed.job_id == Job.id)
        .where(JobNeed.needs_id.in_(ended), Job.state == text("'waiting'"))
        .order_by(Job.id)
        .with_for_update(of=Job, key_share=True)
    ).all()
    if not rows:
        return
    waiting = {row.id: row.client_id for row in rows}
    if kind == SUCCEEDED:
        _queue(session, list(waiting))
        return
    state = JobState.CANCELED if kind == CANCELED else JobState.FAILED
    values: dict[str, Any] = {"state": state, "finished_at": func.now()}
    data: dict[str, Any] = {"reason": "upstream"}
    if state is JobState.FAILED:
        detail = "A job whose output this one takes did not succeed."
        values |= {"error_code": UPSTREAM_FAILED, "error_detail": detail}
        data = {"error_code": UPSTREAM_FAILED}
    session.execute(update(Job).where(Job.id.in_(waiting)).values(values).execution_options(synchronize_session=False))
    announce(session, list(waiting), f"job.{state.value}", data)
    for client_id in sorted(set(waiting.values())):
        give_back_quota(session, client_id, sum(owner == client_id for owner in waiting.values()))


def _queue(session: Session, waiting: Sequence[UUID]) -> None:
    needed = aliased(Job, name="needed")
    missing = (
        exists()
        .where(JobNeed.job_id == Job.id, needed.id == JobNeed.needs_id, needed.state != text("'succeeded'"))
        .correlate(Job)
    )
    queued = session.scalars(
        update(Job)
        .where(Job.id.in_(waiting), Job.state == text("'waiting'"), ~missing)
        .values(state=JobState.QUEUED, available_at=func.now())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()
    announce(session, queued, "job.queued", {"reason": "upstream_succeeded"})
