"""The watchdog: a batch that takes too long is stopped, one that hangs takes its process with it."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from models.checkpoints import scan_folder
from models.jobs import CheckpointCard, Hold
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.slow import write_checkpoint
from tests.worker.test_processes import attempts_of, child_of
from worker.holds import Holds, Stop
from worker.pipelines.base import Picture
from worker.watchdog import Watchdog

HURRIED = {"SAFELIGHT_RUN_TIMEOUT_SECONDS": "1", "SAFELIGHT_MAX_ERRORS": "1", "SAFELIGHT_SWEEP_SECONDS": "0.3"}


def test_a_batch_that_takes_too_long_ends_at_its_next_step_and_the_process_lives(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    crew.worker(**HURRIED)
    (name,) = crew.names()
    params = {"prompt": "step 0.1", "num_inference_steps": 150}
    job = seed.job(seed.client(), slow_checkpoint, params=params)
    crew.ticket()

    assert crew.finish(job) == [JobState.FAILED]
    assert seed.read(job).error_code == "timed_out"
    good = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(good) == [JobState.SUCCEEDED]
    assert {attempts_of(sessions, one)[0].worker for one in (job, good)} == {name}


def test_a_pipeline_that_hangs_is_ended_with_its_process(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a pipeline that heeds no stop flag, then its job fails long before its lease, and a fresh child goes on."""
    worker = crew.worker(**HURRIED)
    hung = child_of(worker)
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "hang"})
    crew.ticket()

    assert crew.finish(job) == [JobState.FAILED]
    found = seed.read(job)
    assert (found.error_code, found.error_count, found.crash_count) == ("timed_out", 1, 0)
    hung.wait(15)
    until(lambda: crew.names() and hung.pid != child_of(worker).pid, what="the fresh child")
    good = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(good) == [JobState.SUCCEEDED]
    assert attempts_of(sessions, job)[0].outcome is AttemptOutcome.FAILED


def test_a_checkpoint_that_never_loads_is_ended_with_its_process(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, tmp_path: Path
) -> None:
    """Given a setup that hangs, then its job fails long before its lease, and a fresh child serves the others."""
    folder = write_checkpoint(tmp_path / "hangs")
    hangs = seed.checkpoint("hangs", family="slow", location=str(folder), manifest=scan_folder(folder))
    worker = crew.worker(**{**HURRIED, "SAFELIGHT_LOAD_TIMEOUT_SECONDS": "1"})
    hung = child_of(worker)
    job = seed.job(seed.client(), hangs)
    crew.ticket()

    assert crew.finish(job) == [JobState.FAILED]
    found = seed.read(job)
    assert (found.error_code, found.error_count, found.crash_count) == ("timed_out", 1, 0)
    assert "load" in (found.error_detail or "")
    hung.wait(15)
    until(lambda: crew.names() and hung.pid != child_of(worker).pid, what="the fresh child")
    good = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(good) == [JobState.SUCCEEDED]


def test_loading_may_take_longer_than_running() -> None:
    """Given a limit for runs only, then a slow load is left alone; and it has one of its own."""
    holds, ended = Holds(60), []
    hold = Hold(uuid4(), 1, "w")
    holds.add([hold], time.monotonic())
    patient = Watchdog(0.1, holds)
    patient.end = ended.append
    patient.start()
    with patient.loading([hold]):
        time.sleep(0.6)
    patient.stop()
    assert (ended, holds.stop_of(hold)) == ([], None)
    strict = Watchdog(0, holds, load_seconds=0.1)
    strict.end = ended.append
    strict.start()
    with strict.loading([hold]):
        until(lambda: ended, what="the end of the process")
    strict.stop()
    assert ended[0] == [hold]
    assert holds.stop_of(hold) is None  # it would not have heeded


def test_a_pipeline_that_keeps_the_gil_cannot_keep_the_process(crew: Crew) -> None:
    """Given code that lets no thread run, then the process ends all the same."""
    code = (
        "import re; from worker import watchdog; from worker.holds import Holds\n"
        "watchdog.END_SECONDS = 0.2\n"
        "dog = watchdog.Watchdog(0.3, Holds(60), grace_seconds=0.1); dog.start()\n"
        "list(dog.watch((re.match('(a+)+$', 60 * 'a' + 'b') for _ in range(1)), []))"
    )
    process = crew.start("-c", code)
    assert process.wait(30) == 1


def pictures(seconds: Sequence[float]) -> Iterator[Picture]:
    """Nothing to look at, each made in that time."""
    for pause in seconds:
        time.sleep(pause)
        yield Picture(uuid4(), 0, None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("inside", "outside", "asked"), [(0.02, 0.3, None), (0.3, 0.0, Stop.TIMED_OUT)])
def test_only_the_time_inside_the_pipeline_counts(inside: float, outside: float, asked: Stop | None) -> None:
    """Given a slow courier, then the batch is left alone; given a slow pipeline, all its calls count together."""
    holds = Holds(60)
    hold = Hold(uuid4(), 1, "w")
    holds.add([hold], time.monotonic())
    dog = Watchdog(0.5, holds)
    dog.start()
    for _ in dog.watch(pictures([inside] * 4), [hold]):
        time.sleep(outside)
    dog.stop()
    assert holds.stop_of(hold) is asked


def test_without_a_timeout_nothing_is_watched() -> None:
    dog = Watchdog(0, Holds(60))
    dog.start()
    assert len(list(dog.watch(pictures([0, 0]), []))) == 2
    assert not dog._thread.is_alive()
