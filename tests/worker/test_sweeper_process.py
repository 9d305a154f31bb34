"""The sweeper as a process that others can watch, and its duties aside."""

import signal
import threading
from datetime import datetime

import pytest
from sqlalchemy import select

from models.daemons import Daemon, DaemonKind
from models.invariants import examine
from models.queue import connect_redis, make_celery
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from worker.duties import Sweep
from worker.sweeper import ASIDE, DUTIES, Duty, Sweeper

SHORT = {"SAFELIGHT_LEASE_SECONDS": "2", "SAFELIGHT_SWEEP_SECONDS": "0.2"}


@pytest.fixture
def sweep(settings: Settings, sessions: Sessions, storage: Storage) -> Sweep:
    return Sweep(settings, sessions, storage, connect_redis(settings), make_celery(settings, worker=False))


def alive(sessions: Sessions) -> dict[str, datetime]:
    with sessions() as session:
        rows = session.execute(select(Daemon.name, Daemon.seen_at).where(Daemon.kind == DaemonKind.SWEEPER))
        return {row.name: row.seen_at for row in rows}


def test_it_says_that_it_is_alive_and_when_it_goes(crew: Crew, sessions: Sessions) -> None:
    process = crew.sweeper(**SHORT)
    ((name, first),) = until(lambda: alive(sessions), what="the first sign of life").items()
    until(lambda: alive(sessions)[name] > first, what="the next sign of life")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert alive(sessions) == {}


def test_one_that_hangs_is_missed_and_another_takes_its_place(
    crew: Crew, seed: Seeder, sessions: Sessions, settings: Settings
) -> None:
    """Given the only sweeper stopped in its tracks, then the monitor misses it, until there is a second one."""
    short = settings.model_copy(update={"lease_seconds": 2.0, "sweep_seconds": 0.2})
    process = crew.sweeper(**SHORT)
    until(lambda: alive(sessions), what="the first sign of life")
    assert examine(sessions, short).violation("no_sweeper") is None
    process.send_signal(signal.SIGSTOP)
    until(lambda: examine(sessions, short).violation("no_sweeper"), what="being missed")
    crew.sweeper(**SHORT)
    until(lambda: examine(sessions, short).violation("no_sweeper") is None, what="the second one")


def test_a_duty_that_waits_for_a_service_does_not_hold_the_others_up(sweep: Sweep) -> None:
    """Given S3 that hangs, then leases are reaped at every sweep, and the hanging duty is not begun a second time."""
    hanging, begun, done = threading.Event(), [], []

    def hang(_: Sweep) -> int:
        begun.append(1)
        hanging.wait(30)
        return 0

    listed = (Duty("slow", hang, aside=True), Duty("reap", lambda _: done.append(1) or 0))
    sweeper = Sweeper(sweep, listed)
    for _ in range(3):
        sweeper.sweep_once()
    until(lambda: begun, what="the hang")
    assert (len(begun), len(done)) == (1, 3)
    hanging.set()
    until(sweeper._aside["slow"].done, what="the end of the hang")
    sweeper.sweep_once()
    until(lambda: len(begun) == 2, what="its next turn")
    sweeper._threads.shutdown()


def test_every_duty_aside_has_its_thread() -> None:
    assert sum(duty.aside for duty in DUTIES) == ASIDE
