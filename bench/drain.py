"""A worker is told to stop in mid-batch: how long until its jobs are queued again, beside a worker that is killed.

The promise is 5 s from SIGTERM, for whatever the batch does: it may be far from its end, or come to no step at all (its
checkpoint loads, its step is long). A killed worker's jobs have to wait for their lease and for the sweeper.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from bench.report import Figure, spread
from bench.stack import CHECKPOINT, Stack, stack
from bench.watching import until, worker_of, workers_alive
from models.jobs import Attempt
from models.session import Sessions, make_engine, make_sessions
from safelight.client import Job

LEASE_SECONDS = 5.0
SWEEP_SECONDS = 1.0
QUICK = {"SAFELIGHT_LEASE_SECONDS": str(LEASE_SECONDS), "SAFELIGHT_SWEEP_SECONDS": str(SWEEP_SECONDS)}
"""Of the baseline; how long a drain may take is left at its default."""
NO_STEP = {"SAFELIGHT_FAILPOINTS": "before_run=sleep:8"}
"""Longer than any drain may take, and not so long that the stopping worker is killed for it."""
GOAL = "≤ 5 s, the worst"
ROUNDS = 8
STUCK_ROUNDS = 4
WORKERS = 2
LONG = {"num_inference_steps": 200, "num_images": 8}
"""Ten seconds, so that what is left of it is longer than the drain."""


def drain() -> list[Figure]:
    """Seconds from the signal until Postgres has the jobs back in the queue, by its clock; the worst of the rounds."""
    with _fleet(QUICK) as (running, sessions):
        drained = [_round(running, sessions, _in_mid_run, _terminate) for _ in range(ROUNDS)]
        killed = [_round(running, sessions, _in_mid_run, _kill) for _ in range(ROUNDS)]
    with _fleet(QUICK | NO_STEP) as (running, sessions):
        stuck = [_round(running, sessions, _claimed, _terminate) for _ in range(STUCK_ROUNDS)]
    lost = max(killed)
    return [
        _figure("a drained worker's batch is queued again", drained, lost),
        _figure("the same, of a batch that comes to no step", stuck, lost),
    ]


@contextlib.contextmanager
def _fleet(environment: dict[str, str]) -> Iterator[tuple[Stack, Sessions]]:
    with stack(gpu_workers=WORKERS, environment=environment) as running:
        engine = make_engine(running.settings, application="bench")
        try:
            yield running, make_sessions(engine)
        finally:
            engine.dispose()


def _round(running: Stack, sessions: Sessions, ripe: Callable[[Job], bool], strike: Callable[[int], None]) -> float:
    until(lambda: workers_alive(sessions, LEASE_SECONDS) >= WORKERS)
    with running.client() as client:
        job = client.submit("text_to_image", prompt="a cat", checkpoint=CHECKPOINT, params=LONG)
        until(lambda: ripe(client.get(job)))
        worker, struck_at = worker_of(sessions, UUID(job.id))
        strike(worker)
        requeued_at = until(lambda: _end_of_first_attempt(sessions, UUID(job.id)))
        client.cancel(job)
        client.wait(job)
    return (requeued_at - struck_at).total_seconds()


def _in_mid_run(job: Job) -> bool:
    return job.progress is not None and job.progress.step > 1


def _claimed(job: Job) -> bool:
    return job.state == "running"


def _terminate(worker: int) -> None:
    """As a deployment does; Celery tells its child."""
    os.kill(worker, signal.SIGTERM)


def _kill(worker: int) -> None:
    os.killpg(worker, signal.SIGKILL)


def _end_of_first_attempt(sessions: Sessions, job_id: UUID) -> datetime | None:
    """Written by the transaction that queues the job again."""
    with sessions() as session:
        return session.scalar(select(Attempt.finished_at).where(Attempt.job_id == job_id, Attempt.number == 1))


def _figure(name: str, found: list[float], lost: float) -> Figure:
    return Figure(name, max(found), "s", lost, "killed: lease + sweep, the worst", GOAL, spread(found))
