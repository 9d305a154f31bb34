"""A worker that is told to stop, as by a deployment: what it had goes back to the queue before it is gone."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from models.checkpoints import scan_folder
from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.ledger import assert_ended_once, read
from tests.faults.points import Points
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.slow import write_checkpoint

DRAINED, SUCCEEDED = AttemptOutcome.DRAINED, AttemptOutcome.SUCCEEDED
TAKEN = 4
"""Pictures that a courier takes before it asks to wait, where a batch is one."""

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


def test_a_batch_that_comes_to_no_step_is_queued_again_and_fenced_out(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    points: Callable[[str], Points],
) -> None:
    """Given a pipeline that does not look up, when its worker drains, then its job runs elsewhere meanwhile."""
    stuck = points("stuck")
    worker = crew.worker(SAFELIGHT_DRAIN_SECONDS="0.5", **stuck.arm(before_run="wait"))
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    stuck.reached("before_run")

    worker.send_signal(signal.SIGTERM)

    until(lambda: crew.states(job) == [JobState.QUEUED], what="the return to the queue")
    crew.worker()
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert worker.poll() is None, "it still waits there"
    stuck.go("before_run")
    assert worker.wait(60) == 0
    found = assert_ended_once(sessions, storage, job, DRAINED, SUCCEEDED)
    assert (found.job.crash_count, found.job.error_count, found.job.isolate) == (0, 0, False)


def test_a_checkpoint_that_still_loads_holds_no_job(
    crew: Crew, seed: Seeder, sessions: Sessions, tmp_path: Path
) -> None:
    """Given a load that takes for ever, when the worker drains, then its job is queued again."""
    folder = write_checkpoint(tmp_path / "hangs")
    hangs = seed.checkpoint("hangs", family="slow", location=str(folder), manifest=scan_folder(folder))
    worker = crew.worker(SAFELIGHT_DRAIN_SECONDS="0.5")
    job = seed.job(seed.client(), hangs)
    crew.ticket()
    until(lambda: crew.states(job) == [JobState.RUNNING], what="the claim")

    worker.send_signal(signal.SIGTERM)

    until(lambda: crew.states(job) == [JobState.QUEUED], what="the return to the queue")
    assert worker.poll() is None, "it still loads"
    assert read(sessions, job).outcomes == [DRAINED]


def test_what_waits_for_the_courier_is_queued_again_and_what_the_courier_has_is_not(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, points: Callable[[str], Points]
) -> None:
    """Given four jobs in the courier, one that it does not take and one claimed ahead, then the first four stay."""
    stuck = points("stuck")
    client = seed.client()
    jobs = [seed.job(client, slow_checkpoint) for _ in range(TAKEN + 2)]
    alone = {"SAFELIGHT_MAX_BATCH_IMAGES": "1", "SAFELIGHT_DRAIN_SECONDS": "0.5"}
    worker = crew.worker(**alone, **stuck.arm(before_put="wait"))
    until(lambda: crew.states(*jobs) == [JobState.RUNNING] * len(jobs), what="more than the courier takes")

    worker.send_signal(signal.SIGTERM)

    until(lambda: crew.states(*jobs[TAKEN:]) == [JobState.QUEUED] * 2, what="the return to the queue")
    for job in jobs[TAKEN:]:
        assert read(sessions, job).outcomes == [DRAINED]
    stuck.go("before_put")
    assert worker.wait(60) == 0
    assert crew.states(*jobs) == [JobState.SUCCEEDED] * TAKEN + [JobState.QUEUED] * 2
