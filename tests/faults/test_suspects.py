"""Jobs that a worker was lost with: each is tried by a process that holds nothing else, so that only the guilty pay."""

from sqlalchemy import update

from models.jobs import CheckpointCard, Job
from models.session import Sessions
from models.states import JobState
from tests.seeding import Seeder
from tests.worker.conftest import Crew

QUICK = {"SAFELIGHT_LEASE_SECONDS": "2", "SAFELIGHT_SWEEP_SECONDS": "0.3"}
SLOW_STORE = {"SAFELIGHT_FAILPOINTS": "before_put=sleep:3"}
"""Longer than a lease: what is being stored when its worker dies is lost."""


def test_a_suspect_that_is_being_stored_is_not_lost_with_the_next_one(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a harmless suspect before one that kills its worker, when one worker runs both, then one attempt is enough.

    A crash always comes back with the same jobs in the same order: whoever is stored beside it would die each time.
    """
    client = seed.client()
    harmless = seed.job(client, slow_checkpoint)
    poison = seed.job(client, slow_checkpoint, params={"prompt": "kill"})
    with sessions.begin() as session:
        session.execute(update(Job).values(isolate=True))

    crew.sweeper(**QUICK)
    crew.worker(**QUICK, **SLOW_STORE)

    assert crew.finish(harmless, poison, seconds=60) == [JobState.SUCCEEDED, JobState.FAILED]
    assert (seed.read(harmless).attempt, seed.read(harmless).crash_count) == (1, 0)
    assert (seed.read(poison).attempt, seed.read(poison).crash_count) == (3, 3)
