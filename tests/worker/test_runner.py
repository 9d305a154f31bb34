"""The runner in this process, with a real courier: what becomes of each job of a batch."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from models.checkpoints import Checkpoint
from models.jobs import Attempt, CheckpointCard, FairClock, Job, cancel, reap_lost
from models.session import Sessions
from models.settings import Settings
from models.states import AttemptOutcome, JobState, Pool
from tests.seeding import Seeder
from tests.worker.conftest import until
from worker.process import WorkerProcess


@pytest.fixture
def process(
    settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkerProcess]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # for the courier
    process = WorkerProcess(settings.model_copy(update={"device": "cpu", "lease_seconds": 8.0}), Pool.GPU)
    process.start()
    yield process
    process.close()


@pytest.fixture
def run(process: WorkerProcess) -> Callable[[], int]:
    """Everything that waits, until it is published."""

    def run() -> int:
        taken = process.wake()
        assert process.runner.courier.flush(10)
        process.runner.aside.do("nothing", lambda: None)
        return taken

    return run


def attempt_of(sessions: Sessions, job: UUID) -> Attempt:
    with sessions() as session:
        return session.scalars(select(Attempt).where(Attempt.job_id == job)).one()


def test_a_batch_of_two_clients_is_published_and_its_speed_learned(
    run: Callable[[], int], process: WorkerProcess, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    jobs = [seed.job(seed.client(), slow_checkpoint) for _ in range(3)]

    assert run() == 3

    assert {seed.read(job).state for job in jobs} == {JobState.SUCCEEDED}
    measures = attempt_of(sessions, jobs[0]).measures
    assert (measures["batch_jobs"], measures["device"], measures["ladder"]) == (3, "cpu", [])
    assert {"queued_seconds", "load_seconds", "run_seconds", "store_seconds"} <= measures.keys()
    assert process.runner.holds.current() == []

    def learned() -> Any:
        with sessions() as session:
            return session.get_one(Checkpoint, slow_checkpoint.id).seconds_per_step

    assert until(learned, what="the speed") > 0


def test_the_fair_clock_follows_what_was_claimed(
    run: Callable[[], int], seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    client = seed.client()
    seed.job(client, slow_checkpoint)
    last = seed.job(client, slow_checkpoint, params={"prompt": "a cat", "num_inference_steps": 2})
    run()

    def moved() -> bool:
        with sessions() as session:
            return session.get_one(FairClock, Pool.GPU).virtual_time >= seed.read(last).start_tag > 0

    until(moved, what="the clock")


def test_each_item_gets_the_end_that_it_deserves(
    run: Callable[[], int], seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    prompts = {"a cat": JobState.SUCCEEDED, "invalid": JobState.FAILED, "missing": JobState.QUEUED}
    jobs = {prompt: seed.job(seed.client(), slow_checkpoint, params={"prompt": prompt}) for prompt in prompts}
    run()
    assert {prompt: seed.read(job).state for prompt, job in jobs.items()} == prompts
    assert seed.read(jobs["invalid"]).error_code == "invalid_input"
    missing = attempt_of(sessions, jobs["missing"])
    assert (missing.outcome, missing.error_code) == (AttemptOutcome.RETRIED, "pipeline_error")
    assert seed.read(jobs["missing"]).isolate


def test_the_ladder_is_recorded_on_the_attempt(
    run: Callable[[], int], seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": "oom 2"}) for _ in range(4)]
    run()
    assert {seed.read(job).state for job in jobs} == {JobState.SUCCEEDED}
    assert attempt_of(sessions, jobs[0]).measures["ladder"] == ["split 4 to 2"]


def test_a_checkpoint_that_was_tampered_with_fails_its_jobs_for_good(
    run: Callable[[], int], seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    with sessions() as session:
        folder = Path(session.get_one(Checkpoint, slow_checkpoint.id).location)
    (folder / "model.safetensors").write_bytes(b"something else")
    job = seed.job(seed.client(), slow_checkpoint)
    run()
    assert (seed.read(job).state, seed.read(job).error_code) == (JobState.FAILED, "checkpoint_unavailable")


def test_params_that_this_version_cannot_read_fail_their_job_alone(
    run: Callable[[], int], seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    good, odd = (seed.job(seed.client(), slow_checkpoint) for _ in range(2))
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET params = '{\"odd\": 1}' WHERE id = :id"), {"id": odd})
    run()
    assert (seed.read(good).state, seed.read(odd).state) == (JobState.SUCCEEDED, JobState.FAILED)


def test_a_canceled_item_ends_while_its_mate_goes_on(
    run: Callable[[], int], process: WorkerProcess, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given two jobs in one batch, when one was canceled after the claim, then only the other is published."""
    params = {"prompt": "step 0.1", "num_inference_steps": 10}
    kept, unwanted = (seed.job(seed.client(), slow_checkpoint, params=params) for _ in range(2))

    def cancel_soon() -> None:
        until(lambda: seed.read(unwanted).state is JobState.RUNNING)
        with sessions.begin() as session:
            cancel(session, unwanted)

    process.runner.aside.do("cancel", cancel_soon)
    run()
    assert (seed.read(kept).state, seed.read(unwanted).state) == (JobState.SUCCEEDED, JobState.CANCELED)


def test_work_claimed_ahead_is_given_back_by_a_draining_worker(
    run: Callable[[], int], process: WorkerProcess, seed: Seeder, slow_checkpoint: CheckpointCard
) -> None:
    """Given a next batch that was claimed ahead, when the worker drains, then that one is queued again at once."""
    first = seed.job(seed.client(), slow_checkpoint)
    other = {"prompt": "a cat", "width": 32, "height": 32}
    second = seed.job(seed.client(), slow_checkpoint, params=other)
    claim_ahead = process.runner._claim_ahead

    def claim_and_drain() -> None:
        claim_ahead()
        process.drain.request()

    process.runner._claim_ahead = claim_and_drain  # type: ignore[method-assign]
    assert run() == 1
    assert (seed.read(first).state, seed.read(second).state) == (JobState.SUCCEEDED, JobState.QUEUED)


def test_nothing_is_claimed_ahead_beside_a_suspect(
    run: Callable[[], int],
    process: WorkerProcess,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
) -> None:
    """Given a job that a worker was lost with, when it runs, then what waits behind it is not held beside it."""
    client = seed.client()
    suspect, behind = (seed.job(client, slow_checkpoint) for _ in range(2))
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == suspect).values(isolate=True))
    claim_ahead = process.runner._claim_ahead
    seen: list[bool] = []

    def look() -> None:
        claim_ahead()
        seen.append(process.runner._ahead is not None)

    process.runner._claim_ahead = look  # type: ignore[method-assign]
    assert run() == 2
    assert seen == [False, True]
    assert [seed.read(job).state for job in (suspect, behind)] == [JobState.SUCCEEDED] * 2


def test_a_broken_device_ends_the_process_after_its_jobs_were_given_back(
    process: WorkerProcess,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("tests.worker.slow.Slow.run", broken)
    job = seed.job(seed.client(), slow_checkpoint)
    with pytest.raises(SystemExit):
        process.wake()
    assert seed.read(job).state is JobState.QUEUED
    assert attempt_of(sessions, job).error_code == "pipeline_error"


def test_no_accident_of_the_worker_itself_leaves_a_job_running(
    run: Callable[[], int],
    process: WorkerProcess,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given Postgres away just while the checkpoint's row is read, then the job is queued again at no cost."""

    def away(_: UUID) -> Any:
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(process.runner.residency, "get", away)
    first = seed.job(seed.client(), slow_checkpoint)
    run()
    assert (seed.read(first).state, seed.read(first).error_count) == (JobState.QUEUED, 0)

    monkeypatch.setattr(process.runner.residency, "get", lambda _: 1 / 0)
    second = seed.job(seed.client(), slow_checkpoint)
    run()
    assert (seed.read(second).state, seed.read(second).error_count) == (JobState.QUEUED, 1)
    assert process.runner.holds.current() == []


def test_a_batch_that_loses_its_lease_is_let_go(
    run: Callable[[], int], process: WorkerProcess, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a job that was reaped while it ran, when the heartbeat misses it, then its run ends."""
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 100})

    def steal() -> None:
        until(lambda: seed.read(job).state is JobState.RUNNING)
        with sessions.begin() as session:
            session.execute(text("UPDATE jobs SET lease_expires_at = now() - interval '1 s'"))
            reap_lost(session, max_crashes=1)

    process.runner.aside.do("steal", steal)
    started = time.monotonic()
    run()
    assert time.monotonic() - started < 8
    assert process.runner.holds.current() == []


def test_a_worker_says_that_it_is_alive_and_gone(process: WorkerProcess, sessions: Sessions) -> None:
    from models.workers import alive

    def row() -> Any:
        with sessions() as session:
            return alive(session, within_seconds=60)

    (worker,) = until(row, what="the first heartbeat")
    assert (worker.name, worker.pool, worker.device) == (process.name, Pool.GPU, "cpu")
    process.close()
    assert row() == []


def test_leases_outlive_a_restarted_connection(
    process: WorkerProcess, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a heartbeat whose connection Postgres ends, when it connects again, then the lease is extended."""
    until(lambda: _heartbeats(sessions), what="the heartbeat's connection")
    seed.job(seed.client(), slow_checkpoint)
    (job,) = seed.claim(owner=process.name, lease_seconds=5)
    process.runner.holds.add([job.hold], time.monotonic())
    before = seed.read(job.job_id).lease_expires_at
    assert before is not None
    with sessions() as session:
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%heartbeat'")
        )

    def extended() -> bool:
        now = seed.read(job.job_id).lease_expires_at
        return now is not None and now > before

    until(extended, what="the extension")
    process.runner.holds.forget(job.hold)


def _heartbeats(sessions: Sessions) -> int:
    with sessions() as session:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%heartbeat' AND query LIKE '%workers%'"
        )
        return int(session.scalar(text(query)) or 0)
