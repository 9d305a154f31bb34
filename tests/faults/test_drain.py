"""A worker that is told to stop, as by a deployment: what it had goes back to the queue before it is gone."""

import signal

import pytest

from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.ledger import assert_ended_once, read
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

DRAINED, SUCCEEDED = AttemptOutcome.DRAINED, AttemptOutcome.SUCCEEDED

pytestmark = pytest.mark.slow


def test_at_most_one_batch_is_repeated(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, slow_checkpoint: CheckpointCard, trace: Trace
) -> None:
    """Given a batch done, one in mid-run and one that waits, when the worker drains, then only the second is repeated.

    No sweeper runs: nothing here waits for a lease to run out, and no crash is counted.
    """
    one_at_a_time = {"SAFELIGHT_MAX_BATCH_IMAGES": "2", "SAFELIGHT_DRAIN_SECONDS": "1"}
    client = seed.client()
    first = [seed.job(client, slow_checkpoint) for _ in range(2)]
    slow = {"prompt": "step 0.1", "num_inference_steps": 40}
    batches = [[seed.job(client, slow_checkpoint, params=slow) for _ in range(2)] for _ in range(2)]
    running, waiting = batches
    worker = crew.worker(**one_at_a_time, **trace.environment)
    until(lambda: all(trace.steps(job) for job in running), what="the second batch's first step")

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(60) == 0
    assert crew.states(*first, *running, *waiting) == [JobState.SUCCEEDED] * 2 + [JobState.QUEUED] * 4
    for job in running:
        assert read(sessions, job).outcomes == [DRAINED]
    crew.worker(**one_at_a_time, **trace.environment)
    assert crew.finish(*running, *waiting, seconds=60) == [JobState.SUCCEEDED] * 4
    for job in first:
        assert_ended_once(sessions, storage, job, SUCCEEDED)
    for job in running:
        found = assert_ended_once(sessions, storage, job, DRAINED, SUCCEEDED)
        assert (found.job.crash_count, found.job.error_count, found.job.isolate) == (0, 0, False)
    for job in waiting:
        assert read(sessions, job).outcomes in ([SUCCEEDED], [DRAINED, SUCCEEDED]), "it may have been claimed ahead"
    assert [len(trace.runs(job)) for job in (*first, *running, *waiting)] == [1, 1, 2, 2, 1, 1]
