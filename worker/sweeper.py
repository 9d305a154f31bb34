"""`python -m worker.sweeper`, the scheduler: finds what was lost, every few seconds. Two or more may run.

A duty that fails does not stop the others, nor does one that waits for S3 or Redis: those run aside. After it
(re)connected to Postgres, leases are not reaped for one full lease: while Postgres was away, no worker could extend its
own.
"""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import FrameType

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models.daemons import DaemonKind, say_alive, say_gone
from models.failpoints import arm
from models.log import configure_logging
from models.queue import connect_redis, make_celery
from models.session import make_engine, make_sessions
from models.settings import Settings, get_settings
from models.storage import Storage
from worker import duties
from worker.duties import Sweep

HOUR = 3600.0
MINUTE = 60.0
NAP_SECONDS = 0.1
ASIDE = 6
"""Threads for duties: one for each that runs aside."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Duty:
    """Something to do every so often; 0 means with every sweep."""

    name: str
    run: Callable[[Sweep], int]
    every_seconds: float = 0.0
    needs_steady_postgres: bool = False
    """Only after Postgres has been there for a full lease."""
    aside: bool = False
    """In a thread of its own: it may wait long for another service, and the leases do not wait for it."""


DUTIES: tuple[Duty, ...] = (
    Duty("reap", duties.reap, needs_steady_postgres=True),
    Duty("expire", duties.expire),
    Duty("send_tickets", duties.send_tickets, aside=True),
    Duty("delete_results", duties.delete_results, MINUTE, aside=True),
    Duty("delete_uploads", duties.delete_uploads, MINUTE, aside=True),
    Duty("empty_shelves", duties.empty_shelves, MINUTE, aside=True),
    Duty("forget_keys", duties.forget_keys, MINUTE),
    Duty("watch", duties.watch, MINUTE, aside=True),
    Duty("forget_webhooks", duties.forget_webhooks, MINUTE),
    Duty("forget_workers", duties.forget_workers, HOUR),
    Duty("collect_garbage", duties.collect_garbage, HOUR, aside=True),
)


@dataclass
class Sweeper:
    """Does each duty when it is due, until `stop`."""

    sweep: Sweep
    duties: tuple[Duty, ...] = DUTIES
    clock: Callable[[], float] = time.monotonic
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}")
    stopping: bool = False
    _due: dict[str, float] = field(default_factory=dict)
    _postgres_started: str | None = None
    _steady_since: float | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(ASIDE, thread_name_prefix="aside"))
    _aside: dict[str, "Future[None]"] = field(default_factory=dict)

    def run(self) -> None:
        """Sweep until stopped."""
        while not self.stopping:
            self.sweep_once()
            self._nap(self.sweep.settings.sweep_seconds)
        self._threads.shutdown(cancel_futures=True)
        try:
            with self.sweep.sessions.begin() as session:
                say_gone(session, self.name)
        except DBAPIError as error:
            log.warning("Postgres does not hear that the sweeper stops", error=type(error).__name__)

    def sweep_once(self) -> None:
        """Everything that is due now."""
        self._look_at_postgres()
        for duty in self.duties:
            if self.stopping:
                return
            if self.clock() < self._due.get(duty.name, 0.0) or (duty.needs_steady_postgres and not self.steady):
                continue
            self._due[duty.name] = self.clock() + duty.every_seconds
            if not duty.aside:
                self._do(duty)
            elif (earlier := self._aside.get(duty.name)) is None or earlier.done():
                self._aside[duty.name] = self._threads.submit(self._do, duty)

    @property
    def steady(self) -> bool:
        """Whether Postgres has answered for a full lease, so that every living worker has extended its leases."""
        lease = self.sweep.settings.lease_seconds
        return self._steady_since is not None and self.clock() - self._steady_since >= lease

    def heard(self, _number: int, _frame: FrameType | None) -> None:
        """As a signal handler."""
        self.stopping = True

    def _do(self, duty: Duty) -> None:
        try:
            count = duty.run(self.sweep)
        except DBAPIError as error:
            log.warning("Postgres failed a duty", duty=duty.name, error=type(error).__name__)
            if error.connection_invalidated:
                self._steady_since = None
        except Exception as error:  # noqa: BLE001  # the other duties go on
            log.warning("a duty failed", duty=duty.name, error=type(error).__name__, detail=str(error)[:200])
        else:
            if count:
                log.info("swept", duty=duty.name, count=count)

    def _look_at_postgres(self) -> None:
        """Notice that Postgres is away, came back or was started anew between two sweeps; say that we are alive."""
        try:
            with self.sweep.sessions.begin() as session:
                started = str(session.scalars(text("SELECT pg_postmaster_start_time()")).one())
                now, since = self.clock(), self._steady_since
                if started != self._postgres_started or since is None:
                    self._postgres_started, since = started, now
                self._say_alive(session, now - since)
            self._steady_since = since
        except DBAPIError as error:
            log.warning("Postgres does not answer", error=type(error).__name__)
            self._steady_since = None

    def _say_alive(self, session: Session, working_seconds: float) -> None:
        say_alive(
            session,
            name=self.name,
            kind=DaemonKind.SWEEPER,
            host=socket.gethostname(),
            pid=os.getpid(),
            working_seconds=working_seconds,
        )

    def _nap(self, seconds: float) -> None:
        end = self.clock() + seconds
        while not self.stopping and (rest := end - self.clock()) > 0:
            time.sleep(min(rest, NAP_SECONDS))


def make_sweeper(settings: Settings) -> Sweeper:
    """A sweeper on the services of these settings."""
    engine = make_engine(settings, application="sweeper")
    sweep = Sweep(
        settings=settings,
        sessions=make_sessions(engine),
        storage=Storage(settings),
        redis=connect_redis(settings),
        celery=make_celery(settings, worker=False),
    )
    sweeper = Sweeper(sweep)
    sweeper.sweep = replace(sweep, stopping=lambda: sweeper.stopping)
    return sweeper


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings, process="sweeper")
    arm(settings)
    sweeper = make_sweeper(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, sweeper.heard)
    log.info("sweeper is up", every_seconds=settings.sweep_seconds)
    sweeper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
