"""A worker is killed in the middle of a job: how long until the job runs again on another, beside lease + sweep.

The promise is lease + sweep + 2 s: the lease has to run out, the sweeper has to come by, a worker has to be woken.
"""

import os
import signal
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from bench.report import Figure, spread
from bench.stack import CHECKPOINT, Stack, stack
from bench.watching import until, worker_of, workers_alive
from models.jobs import Attempt
from models.session import Sessions, make_engine, make_sessions

LEASE_SECONDS = 5.0
SWEEP_SECONDS = 1.0
PROMISED_SECONDS = LEASE_SECONDS + SWEEP_SECONDS + 2.0
ROUNDS = 8
WORKERS = 2
LONG_STEPS = 200
"""So that the kill comes in mid-job, and the second attempt has not ended when it is looked at."""


def recovery() -> list[Figure]:
    """Seconds from the kill to the start of the next attempt, all by Postgres' clock; the worst of the rounds."""
    quick = {"SAFELIGHT_LEASE_SECONDS": str(LEASE_SECONDS), "SAFELIGHT_SWEEP_SECONDS": str(SWEEP_SECONDS)}
    with stack(gpu_workers=WORKERS, environment=quick) as running:
        engine = make_engine(running.settings, application="bench")
        try:
            found = [_round(running, make_sessions(engine)) for _ in range(ROUNDS)]
        finally:
            engine.dispose()
    return [
        Figure(
            "a killed worker's job runs again",
            max(found),
            "s",
            LEASE_SECONDS + SWEEP_SECONDS,
            "lease + sweep",
            f"≤ {PROMISED_SECONDS:g} s (lease + sweep + 2 s), the worst",
            spread(found),
        )
    ]


def _round(running: Stack, sessions: Sessions) -> float:
    until(lambda: workers_alive(sessions, LEASE_SECONDS) >= WORKERS)
    params = {"num_inference_steps": LONG_STEPS}
    with running.client() as client:
        job = client.submit("text_to_image", prompt="a cat", checkpoint=CHECKPOINT, params=params)
        until(lambda: (client.get(job).raw["progress"] or {"step": 0})["step"] > 1)
        worker, killed_at = worker_of(sessions, UUID(job.id))
        os.killpg(worker, signal.SIGKILL)
        started_at = until(lambda: _second_start(sessions, UUID(job.id)))
        client.cancel(job)
        client.wait(job)
    return float((started_at - killed_at).total_seconds())


def _second_start(sessions: Sessions, job_id: UUID) -> datetime | None:
    with sessions() as session:
        return session.scalar(select(Attempt.started_at).where(Attempt.job_id == job_id, Attempt.number == 2))
