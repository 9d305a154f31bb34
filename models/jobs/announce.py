"""What every transition of a job says: its event, and in the same transaction what webhooks will tell of it."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models.events import record
from models.webhooks.kinds import KINDS
from models.webhooks.outbox import enqueue


def announce(session: Session, job_ids: Iterable[UUID], kind: str, data: dict[str, Any] | None = None) -> None:
    """Record the event of each job; write the messages if webhooks tell of this kind.

    Call it once the transition's rows are written: a message shows the job as it then is.
    """
    jobs = list(job_ids)
    record(session, jobs, kind, data)
    if kind in KINDS:
        enqueue(session, jobs, kind)
