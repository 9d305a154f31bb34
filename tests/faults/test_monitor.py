"""The invariant monitor beside a stack at work: it says nothing while all goes well, nor while a crash is repaired."""

import signal

import pytest

from models.invariants import Severity, examine
from models.jobs import CheckpointCard, cancel
from models.session import Sessions
from models.settings import Settings
from models.states import FINAL_STATES, JobState
from tests.models.living import names
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.worker.test_processes import child_of

SHORT = {"SAFELIGHT_LEASE_SECONDS": "4", "SAFELIGHT_SWEEP_SECONDS": "0.3"}


@pytest.fixture
def short(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_seconds": 4.0, "sweep_seconds": 0.3})


@pytest.mark.slow
def test_no_false_alarm_at_work_nor_after_a_crash(
    crew: Crew, seed: Seeder, sessions: Sessions, short: Settings, slow_checkpoint: CheckpointCard
) -> None:
    """Given jobs that run, fail, are canceled and lose their worker, then no look at any moment finds a broken promise.

    At the end nothing at all is left to say.
    """
    sweeper = crew.sweeper(**SHORT)
    worker = crew.worker(**SHORT)
    client = seed.client()
    prompts = ["step 0.1", "a cat", "invalid", "step 0.3", "a cat", "step 0.1"] * 4
    jobs = [seed.job(client, slow_checkpoint, params={"prompt": prompt}) for prompt in prompts]
    crew.ticket()
    broken: set[str] = set()

    def look() -> None:
        found = examine(sessions, short).violations
        broken.update(one.invariant.name for one in found if one.invariant.severity is Severity.BROKEN)

    def running() -> bool:
        look()
        return JobState.RUNNING in crew.states(*jobs)

    def ended() -> bool:
        look()
        return set(crew.states(*jobs)) <= FINAL_STATES

    until(running, what="the first run")
    with sessions.begin() as session:
        cancel(session, jobs[-1])
    child_of(worker).send_signal(signal.SIGKILL)
    until(ended, 90, "the end of the jobs")

    assert broken == set()
    assert names(examine(sessions, short)) == set()
    assert sweeper.poll() is None
