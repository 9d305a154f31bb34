"""A job that kills whatever runs it, in company: its mates live, and it alone is held to the crash cap."""

import pytest

from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.ledger import assert_ended_once, read
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3", "SAFELIGHT_MAX_CRASHES": "2"}
LOST = AttemptOutcome.LOST

pytestmark = pytest.mark.slow


def test_a_poison_job_in_a_batch_of_four(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, trace: Trace
) -> None:
    """Given four jobs in a batch, when one kills the worker, then each runs alone, and only its lone crashes count."""
    prompts = ["a cat", "a dog", "kill", "an owl"]
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": prompt}) for prompt in prompts]
    poison = jobs.pop(prompts.index("kill"))
    crew.sweeper(**SHORT)
    crew.worker(**SHORT, **trace.environment)

    assert crew.finish(*jobs, poison, seconds=90) == [JobState.SUCCEEDED] * 3 + [JobState.FAILED]

    for job in jobs:
        found = assert_ended_once(sessions, storage, job, LOST, AttemptOutcome.SUCCEEDED)
        assert [attempt.batch_jobs for attempt in found.attempts] == [4, 1]
        assert found.job.crash_count == 0
    found = read(sessions, poison)
    assert found.outcomes == [LOST, LOST, LOST]
    assert [attempt.batch_jobs for attempt in found.attempts] == [4, 1, 1]
    assert (found.job.error_code, found.job.crash_count) == ("worker_lost", 2)
    assert (found.events.count("job.failed"), found.artifacts, found.live_jobs) == (1, [], 0)
    assert len(trace.runs(poison)) == 3
