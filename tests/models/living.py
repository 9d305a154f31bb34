"""What the monitor's tests share: who is alive, jobs by the product's own verbs, and SQL that breaks things."""

import os
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models import daemons
from models.daemons import DaemonKind
from models.invariants import Health
from models.jobs import CheckpointCard, Output, publish
from models.session import Sessions
from models.states import Pool
from models.workers import say_alive
from tests.seeding import Seeder

TIGHT = {"lease_seconds": 0.4, "sweep_seconds": 0.05}
"""So that patience ends within a second."""


def sweeper_alive(sessions: Sessions, *, working_seconds: float = 3600, kind: DaemonKind = DaemonKind.SWEEPER) -> None:
    """A daemon that has worked for so long, and says that it is alive all through the next hour."""
    with sessions.begin() as session:
        daemons.say_alive(session, name=kind, kind=kind, host="h", pid=1, working_seconds=working_seconds)
        session.execute(
            text("UPDATE daemons SET seen_at = now() + interval '1 hour' WHERE name = :name"), {"name": kind}
        )


def worker_alive(sessions: Sessions, pool: Pool = Pool.GPU, phase: str = "idle") -> None:
    """A worker that was in this phase, and says so all through the next hour."""
    info = {"phase": phase}
    with sessions.begin() as session:
        say_alive(session, name=f"w-{pool}", pool=pool, host="h", pid=1, device="cpu", resident=[], info=info)
        session.execute(text("UPDATE workers SET seen_at = now() + interval '1 hour'"))


def run(sessions: Sessions, statement: str, **values: Any) -> None:
    with sessions.begin() as session:
        session.execute(text(statement), values)


def names(health: Health) -> set[str]:
    return {found.invariant.name for found in health.violations}


def outputs(images: int = 1) -> list[Output]:
    key = os.urandom(4).hex()
    return [Output(index, f"results/{key}/{index}", "0", "image/png", 7, 8, 8, 7) for index in range(images)]


def succeeded(seed: Seeder, sessions: Sessions, client: UUID, checkpoint: CheckpointCard, images: int = 2) -> UUID:
    seed.job(client, checkpoint, params={"prompt": "a cat", "num_images": images})
    (claimed,) = seed.claim(max_images=1)
    with sessions.begin() as session:
        publish(session, claimed.hold, outputs(images), {})
    return claimed.job_id


def waits(sessions: Sessions) -> None:
    """What is queued has waited for an hour."""
    run(sessions, "UPDATE jobs SET available_at = now() - interval '1 hour', created_at = now() - interval '1 hour'")
