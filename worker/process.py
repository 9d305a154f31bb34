"""One worker process: builds its parts, starts its threads, says that it is alive, and ends them in order."""

import faulthandler
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import InternalError, SQLAlchemyError
from sqlalchemy.orm import Session

from models.checkpoints import Checkpoint
from models.jobs import Hold, claim, release_drained
from models.progress import ProgressBoard
from models.queue import TicketSender, clear_ticket, connect_redis
from models.session import make_engine, make_sessions
from models.settings import Settings
from models.states import Pool
from models.storage import Storage
from models.workers import say_alive, say_gone
from worker.aside import Aside
from worker.checkpoint_files import CheckpointStore
from worker.devices import Device, memory_budget_bytes, open_device
from worker.drain import Deadline, Drain
from worker.holds import Holds
from worker.inputs import InputReader
from worker.lease import Heartbeat
from worker.library import ResidentLibrary
from worker.pipelines import load_family
from worker.reporter import Reporter
from worker.residency import Residency
from worker.runner import Runner
from worker.shelf import JobShelf
from worker.watchdog import END_SECONDS

CLOSE_SECONDS = 20.0
"""What storing the last pictures may take when the worker stops."""

log = structlog.get_logger()


@dataclass
class WorkerProcess:
    """Owns a device, and what runs on it. Made once per process."""

    settings: Settings
    pool: Pool
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}")
    closed: bool = False

    def __post_init__(self) -> None:
        settings = self.settings
        self.engine: Engine = make_engine(settings, application="worker")
        self._beat_engine: Engine = make_engine(settings, application="heartbeat")
        sessions = make_sessions(self.engine)
        self.redis: Any = connect_redis(settings)
        self.device: Device = open_device(settings, self.pool)
        self.drain = Drain(settings.drain_seconds)
        self.store = CheckpointStore(settings)
        storage = Storage(settings)
        residency = Residency(sessions, self.store, self.device, memory_budget_bytes(settings, self.device))
        self.runner = Runner(
            settings=settings,
            pool=self.pool,
            owner=self.name,
            sessions=sessions,
            device=self.device,
            holds=Holds(settings.lease_seconds),
            drain=self.drain,
            residency=residency,
            reporter=Reporter(ProgressBoard(connect_redis(settings))),
            tickets=TicketSender(settings),
            aside=Aside(),
            inputs=InputReader(sessions, storage, settings.blocked_words),
            library=ResidentLibrary(sessions, residency, self.store),
            shelf_of=lambda hold: JobShelf(storage, hold),
        )
        self._ready_file = settings.ready_file
        self.heartbeat = Heartbeat(self._beat_engine, self.runner.holds, self._say_alive)
        self.runner.watchdog.end = self._end_hung
        self.deadline = Deadline(self.drain, self.runner.give_back_unstored)

    def start(self) -> None:
        """Start threads and courier, and do once what the first job would otherwise wait for."""
        self.runner.courier.start()
        self.runner.reporter.start()
        self.heartbeat.start()
        self.runner.watchdog.start()
        self.deadline.start()
        threading.Thread(target=self._rehearse, name="rehearsal", daemon=True).start()
        threading.Thread(target=self.store.remove_leftovers, name="leftovers", daemon=True).start()
        log.info("worker is up", worker=self.name, pool=self.pool.value, device=self.device.name)

    def wake(self) -> int:
        """A ticket came: run what waits. Only on the main thread."""
        with self.drain.listening(signal.SIGTERM):
            clear_ticket(self.redis, self.pool)
            return self.runner.run_until_empty()

    def close(self) -> None:
        """Store what is finished, give back what is not, say goodbye."""
        if self.closed:
            return
        self.closed = True
        runner = self.runner
        runner.watchdog.stop()
        self.deadline.stop()
        runner.courier.close(CLOSE_SECONDS)
        runner.aside.close()
        self.heartbeat.stop()
        runner.reporter.stop()
        try:
            with runner.sessions.begin() as session:
                for hold in runner.holds.current():
                    release_drained(session, hold)
                say_gone(session, self.name)
        except SQLAlchemyError as error:
            log.warning("Postgres does not hear that the worker stops", error=type(error).__name__)
        self._beat_engine.dispose()
        self.engine.dispose()
        log.info("worker is gone", worker=self.name)

    def _end_hung(self, holds: Sequence[Hold]) -> None:
        """A pipeline neither ends nor stops: end its jobs and then this process, whatever the main thread does."""
        log.critical("a pipeline hangs; this process ends and a fresh one takes over", worker=self.name)
        faulthandler.dump_traceback(sys.__stderr__ or 2)  # where it hangs; without values, so without prompts
        patience = threading.Timer(END_SECONDS, os._exit, (1,))
        patience.daemon = True
        patience.start()
        self.deadline.stop()  # what hangs fails, and is not given back
        self.drain.request()
        try:
            self.runner.fail_hung(holds)
            self.close()
        except Exception:
            log.exception("the worker could not end in order")
        finally:
            os._exit(1)

    def _say_alive(self, session: Session) -> None:
        runner = self.runner
        info = {
            "phase": "draining" if self.drain.requested else runner.phase,
            "jobs": [str(hold.job_id) for hold in runner.holds.current()],
            "resident_mib": runner.residency.used_bytes >> 20,
            "storing_images": runner.courier.images_under_way(),
        }
        say_alive(
            session,
            name=self.name,
            pool=self.pool,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self.device.name,
            resident=runner.residency.names,
            info=info,
        )
        self._say_ready()

    def _say_ready(self) -> None:
        """For whoever started this process: from here on others know that it is alive."""
        file, self._ready_file = self._ready_file, None
        try:
            if file is not None:
                file.touch()
        except OSError as error:
            log.warning("the ready file cannot be made", error=error.strerror)

    def _rehearse(self) -> None:
        """Compile the claim and import the families in use, so that the first job waits for neither."""
        try:
            with self.runner.sessions() as session:
                known = Checkpoint.pool == self.pool, Checkpoint.enabled
                families = session.scalars(select(Checkpoint.family).where(*known).distinct()).all()
            with self.runner.sessions() as session, suppress(InternalError):
                # Postgres refuses the claim in a read-only transaction: no job is taken.
                session.execute(text("SET TRANSACTION READ ONLY"))
                claim(session, pool=self.pool, owner=self.name, max_images=1, lease_seconds=1)
        except SQLAlchemyError as error:
            log.warning("Postgres does not answer yet", error=type(error).__name__)
            return
        for family in families:
            try:
                load_family(family)
            except Exception as error:  # noqa: BLE001  # a job of this family will say so, with its own error
                log.warning("a family cannot be loaded", family=family, error=type(error).__name__)
