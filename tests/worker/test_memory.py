"""Memory of a real worker: what it holds as the system counts it, and the ladder that a shortage takes a batch down."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from sqlalchemy import select

from models.checkpoints import scan_folder
from models.jobs import Attempt, CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.workers import Worker
from tests.pipelines.tiny import make
from tests.seeding import Seeder
from tests.worker import heavy
from tests.worker.conftest import Crew, until
from tests.worker.test_processes import child_of

MIB = 1 << 20
SIZE = 64 * MIB
"""Of one checkpoint: large beside everything else that a job touches."""
SLACK = 20 * MIB
"""What allocator, threads, rows and pictures may take beside checkpoints; a third of one of these."""
FAILED, SUCCEEDED = JobState.FAILED, JobState.SUCCEEDED

pytestmark = pytest.mark.slow


def attempts_of(sessions: Sessions, job: UUID) -> Sequence[Attempt]:
    with sessions() as session:
        return session.scalars(select(Attempt).where(Attempt.job_id == job).order_by(Attempt.number)).all()


def ladder_of(sessions: Sessions, job: UUID) -> list[str]:
    """Of its first attempt."""
    ladder: list[str] = attempts_of(sessions, job)[0].measures["ladder"]
    return ladder


# --- the budget -----------------------------------------------------------------------------------------------------


@dataclass
class Scale:
    """Weighs a process: the most memory that it has had at once since `begin`, beside what it had then."""

    process: psutil.Process
    base: int = 0

    def begin(self) -> None:
        # 5 resets the high-water mark; see proc_pid_clear_refs(5).
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.base = self.process.memory_info().rss

    def peak(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (kib,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(kib) * 1024 - self.base


Checkpoints = Callable[..., list[CheckpointCard]]


@pytest.fixture
def checkpoints(seed: Seeder, tmp_path: Path) -> Checkpoints:
    """Registers some of the family that holds as much as its file has."""

    def register(*names: str, size_bytes: int = SIZE) -> list[CheckpointCard]:
        found = []
        for name in names:
            folder = heavy.write_checkpoint(tmp_path / name, size_bytes)
            given = {"family": "heavy", "location": str(folder), "manifest": scan_folder(folder)}
            found.append(seed.checkpoint(name, **given))
        return found

    return register


@pytest.fixture
def weighed(crew: Crew, seed: Seeder, checkpoints: Checkpoints) -> Callable[[int], Scale]:
    """Starts a worker with a budget of so many MiB, which has run a job already and holds next to nothing."""

    def start(budget_mib: int) -> Scale:
        (light,) = checkpoints("light", size_bytes=1024)
        first = seed.job(seed.client(), light)
        worker = crew.worker(SAFELIGHT_MEMORY_BUDGET_MIB=str(budget_mib))
        assert crew.finish(first) == [SUCCEEDED]
        scale = Scale(child_of(worker))
        with contextlib.suppress(OSError):
            scale.begin()
        if not scale.base:
            pytest.skip("this system has no high-water mark that can be reset")
        return scale

    return start


def resident(sessions: Sessions) -> set[str]:
    with sessions() as session:
        return set(session.scalars(select(Worker.resident)).one())


def test_a_second_checkpoint_comes_when_the_first_has_gone(
    crew: Crew, seed: Seeder, checkpoints: Checkpoints, weighed: Callable[[int], Scale]
) -> None:
    """Given a budget for one, when jobs go to and fro between two, then never are both in memory."""
    one, other = checkpoints("one", "other")
    scale, client = weighed(80), seed.client()

    for card in (one, other, one):
        job = seed.job(client, card)
        crew.ticket()
        assert crew.finish(job) == [SUCCEEDED]

    assert SIZE <= scale.peak() <= 80 * MIB + SLACK < 2 * SIZE


def test_what_runs_keeps_its_place_beside_its_companion(
    crew: Crew, seed: Seeder, sessions: Sessions, checkpoints: Checkpoints, weighed: Callable[[int], Scale]
) -> None:
    """Given a budget for two and two that are loaded, when the older one asks for a third, then the other one goes."""
    running, idle, _ = checkpoints("running", "idle", "companion")
    scale, client = weighed(144), seed.client()
    for card, prompt in ((running, "a cat"), (idle, "a cat"), (running, "beside companion")):
        job = seed.job(client, card, params={"prompt": prompt})
        crew.ticket()
        assert crew.finish(job) == [SUCCEEDED]

    assert 2 * SIZE <= scale.peak() <= 144 * MIB + SLACK < 3 * SIZE
    until(lambda: resident(sessions) == {"running", "companion"}, what="the news of what is loaded")


def test_two_companions_that_do_not_fit_together_take_turns(
    crew: Crew, seed: Seeder, sessions: Sessions, checkpoints: Checkpoints, weighed: Callable[[int], Scale]
) -> None:
    """Given a batch whose jobs ask for different companions, when there is room for one, then the batch is split."""
    running, *_ = checkpoints("running", "left", "right")
    scale = weighed(144)
    jobs = [seed.job(seed.client(), running, params={"prompt": f"beside {name}"}) for name in ("left", "right")]
    crew.ticket()

    assert crew.finish(*jobs) == [SUCCEEDED] * 2
    assert ladder_of(sessions, jobs[1]) == ["split 2 to 1"]
    assert 2 * SIZE <= scale.peak() <= 144 * MIB + SLACK < 3 * SIZE


def test_a_companion_without_room_fails_the_job_that_wants_it(
    crew: Crew, seed: Seeder, sessions: Sessions, checkpoints: Checkpoints, weighed: Callable[[int], Scale]
) -> None:
    """Given a budget for one, when a job wants two, then it fails and says why, and its mate succeeds."""
    running, _ = checkpoints("running", "companion")
    scale, client = weighed(80), seed.client()
    mate, greedy = (seed.job(client, running, params={"prompt": words}) for words in ("a cat", "beside companion"))
    crew.ticket()

    assert crew.finish(mate, greedy) == [SUCCEEDED, FAILED]
    found = seed.read(greedy)
    assert found.error_code == "out_of_memory"
    assert found.error_detail == (
        "companion does not fit beside running: 64 MiB and 64 MiB, of 80 MiB for checkpoints."
    )
    assert ladder_of(sessions, greedy) == ["split 2 to 1"]
    assert SIZE <= scale.peak() <= 80 * MIB + SLACK < 2 * SIZE


# --- the ladder -----------------------------------------------------------------------------------------------------


def test_a_batch_that_is_too_large_is_split_and_succeeds(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": "oom 1"}) for _ in range(4)]
    crew.worker()
    assert crew.finish(*jobs) == [SUCCEEDED] * 4
    assert ladder_of(sessions, jobs[-1]) == ["split 4 to 2", "split 2 to 1", "split 2 to 1"]


@pytest.fixture
def tiny_diffusers(seed: Seeder, tmp_path: Path) -> CheckpointCard:
    """Stable Diffusion 1 with a few random weights."""
    folder = make("sd1", tmp_path / "sd1")
    return seed.checkpoint("sd1", location=str(folder), manifest=scan_folder(folder))


def test_a_diffusers_pipeline_slims_step_by_step_and_succeeds(
    crew: Crew, seed: Seeder, sessions: Sessions, tiny_diffusers: CheckpointCard
) -> None:
    """Given four shortages one after the other, then each step is on the attempts, and both pictures are made."""
    params: dict[str, Any] = {"prompt": "a cat", "width": 32, "height": 32, "num_inference_steps": 2}
    jobs = [seed.job(seed.client(), tiny_diffusers, params=params | {"seed": number}) for number in range(2)]
    crew.worker(SAFELIGHT_FAILPOINTS="before_pass=oom:4")

    assert crew.finish(*jobs, seconds=60) == [SUCCEEDED] * 2

    assert [len(attempts_of(sessions, job)) for job in jobs] == [1, 1]
    steps = ["decoder in slices", "decoder in tiles", "attention in slices"]
    assert ladder_of(sessions, jobs[1]) == ["split 2 to 1", *steps]


def test_one_that_never_fits_fails_alone_at_the_ladders_end(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard
) -> None:
    """Given a batch with one job that fits nowhere, then it is tried alone once more and fails; its mates succeed."""
    prompts = ("a cat", "oom 0", "a dog")
    jobs = [seed.job(seed.client(), slow_checkpoint, params={"prompt": prompt}) for prompt in prompts]
    crew.worker()

    assert crew.finish(*jobs) == [SUCCEEDED, FAILED, SUCCEEDED]

    first, last = attempts_of(sessions, jobs[1])
    assert (first.outcome, last.outcome) == (AttemptOutcome.RETRIED, AttemptOutcome.FAILED)
    assert (first.error_code, last.error_code) == ("out_of_memory", "out_of_memory")
    assert first.measures["ladder"] == ["split 3 to 2", "split 2 to 1", "slim", "slim"]
    assert (last.batch_jobs, last.measures["ladder"]) == (1, [])
    assert [len(attempts_of(sessions, job)) for job in (jobs[0], jobs[2])] == [1, 1]
