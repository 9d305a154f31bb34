"""Celery's entry points: three lines each. The work is in `worker.runner`."""

from typing import Any

from models.queue import WAKE_TASK
from worker.app import app, process_of


def _wake(pool: str, job_id: str) -> int:
    """Something waits in this pool; `job_id` is what caused the ticket, for tracing only."""
    return process_of(pool, job_id).wake()


wake: Any = app.task(name=WAKE_TASK, ignore_result=True)(_wake)
