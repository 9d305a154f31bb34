"""Fixtures of the worker's tests: a checkpoint of the test family, and real worker processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from models.checkpoints import scan_folder
from models.jobs import CheckpointCard, Job
from models.queue import connect_redis, make_celery, send_ticket
from models.session import Sessions
from models.settings import Settings
from models.states import FINAL_STATES, JobState, Pool
from models.workers import Worker
from tests.seeding import Seeder
from tests.worker.slow import write_checkpoint

WAIT_SECONDS = 30.0


def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS, what: str = "the condition") -> Any:
    """Poll until the condition gives something true, and give that back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {seconds} s")


@pytest.fixture
def slow_checkpoint(seed: Seeder, tmp_path: Path) -> CheckpointCard:
    """A registered checkpoint of the test family, with real files."""
    folder = write_checkpoint(tmp_path / "slow")
    return seed.checkpoint("slow", family="slow", location=str(folder), manifest=scan_folder(folder))


@dataclass
class Crew:
    """Starts processes of the product against the test's services, and ends what is left of them."""

    settings: Settings
    environment: dict[str, str]
    sessions: Sessions
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *argv: str, **environment: str) -> "subprocess.Popen[bytes]":
        """A Python process, in a group of its own."""
        merged = {**os.environ, **self.environment, **environment}
        process = subprocess.Popen([sys.executable, *argv], env=merged, start_new_session=True)
        self.running.append(process)
        return process

    def worker(self, *, wait: bool = True, pool: Pool = Pool.GPU, **environment: str) -> "subprocess.Popen[bytes]":
        """A Celery worker with the test family; waits until it has said that it is alive."""
        before = set(self.names())
        options = ["--pool", "prefork", "--concurrency", "1", "--without-gossip", "--without-mingle"]
        name = f"{pool.value}-{len(self.running)}@%h"
        process = self.start(
            "-m",
            "celery",
            "-A",
            "tests.worker.slow_app",
            "worker",
            *options,
            "-Q",
            pool.value,
            "-n",
            name,
            **environment,
        )
        if wait:
            until(lambda: set(self.names()) - before, what="a worker's first heartbeat")
        return process

    def sweeper(self, **environment: str) -> "subprocess.Popen[bytes]":
        """The scheduler."""
        return self.start("-m", "worker.sweeper", **environment)

    def names(self) -> list[str]:
        """Of the workers that have a row."""
        with self.sessions() as session:
            return list(session.scalars(select(Worker.name)))

    def ticket(self, pool: Pool = Pool.GPU) -> None:
        """Wake a worker, as the API does after a submit."""
        app, connection = make_celery(self.settings, worker=False), connect_redis(self.settings)
        send_ticket(app, connection, pool)
        app.close()
        connection.close()

    def states(self, *job_ids: UUID) -> list[JobState]:
        """Of these jobs."""
        with self.sessions() as session:
            found = {row.id: row.state for row in session.execute(select(Job.id, Job.state).where(Job.id.in_(job_ids)))}
        return [found[job_id] for job_id in job_ids]

    def finish(self, *job_ids: UUID, seconds: float = WAIT_SECONDS) -> list[JobState]:
        """Wait until all have ended."""
        until(lambda: set(self.states(*job_ids)) <= FINAL_STATES, seconds, "the end of the jobs")
        return self.states(*job_ids)

    def end(self) -> None:
        """Kill what still runs, with everything in its group."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def crew(settings: Settings, environment: dict[str, str], sessions: Sessions) -> Iterator[Crew]:
    """Real processes."""
    crew = Crew(settings, environment, sessions)
    yield crew
    crew.end()
