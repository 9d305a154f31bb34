"""What the measurements of faults ask of a running fleet: who is alive, who holds a job, and since when by Postgres."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import psutil
from sqlalchemy import func, select

from models.jobs import Job
from models.session import Sessions
from models.states import Pool
from models.workers import alive

LIMIT_SECONDS = 60.0
T = TypeVar("T")


def until(condition: Callable[[], T | None]) -> T:
    """Poll until it gives something true, and give that back."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come true within {LIMIT_SECONDS} s"
        time.sleep(0.02)
    return found


def workers_alive(sessions: Sessions, lease_seconds: float) -> int:
    """How many GPU workers have a fresh heartbeat."""
    with sessions() as session:
        return len(alive(session, lease_seconds / 2, Pool.GPU))


def worker_of(sessions: Sessions, job_id: UUID) -> tuple[int, datetime]:
    """The main process of the worker that runs this job, and Postgres' clock as of now.

    It leads the worker's group: its child, whose pid is in the worker's name, and the courier.
    """
    with sessions() as session:
        owner = session.scalars(select(Job.lease_owner).where(Job.id == job_id)).one()
        assert owner is not None, "it ended before its worker could be struck"
        now = session.scalars(select(func.clock_timestamp())).one()
    return psutil.Process(int(owner.split("-")[-2])).ppid(), now
