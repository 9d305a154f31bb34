"""The heartbeat: a thread with a connection of its own that keeps this process's leases alive.

It extends every lease each quarter of its length, says that the worker is alive, and listens for cancels in between,
so that one is seen within about a step. Postgres may go away and come back: it connects again for ever, while
`Holds` lets go by the monotonic clock of whatever could not be extended in time.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.events import CANCEL_CHANNEL
from models.jobs import Hold, Job, extend
from worker.holds import Holds

BEATS_PER_LEASE = 4
TICK_SECONDS = 0.5
"""How long it listens before it looks at its other duties."""
RECONNECT_SECONDS = 0.5

log = structlog.get_logger()


class Heartbeat:
    """Beats until `stop`. `say_alive` writes the worker's row; it gets the session of each beat."""

    def __init__(self, engine: Engine, holds: Holds, say_alive: Callable[[Session], None]) -> None:
        self._engine = engine
        self._holds = holds
        self._say_alive = say_alive
        self._period = holds.lease_seconds / BEATS_PER_LEASE
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """End; the leases stand for what is left of them."""
        self._stopping.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._engine.connect() as connection:
                    self._serve(connection.execution_options(isolation_level="AUTOCOMMIT"))
            except Exception as error:  # whatever it was, leases must go on being extended
                known = isinstance(error, SQLAlchemyError)
                log.warning("the heartbeat lost Postgres", error=type(error).__name__, exc_info=not known)
                self._holds.check()
                self._stopping.wait(min(RECONNECT_SECONDS, self._period))

    def _serve(self, connection: Connection) -> None:
        """Beat and listen on one connection until it breaks."""
        connection.exec_driver_sql(f"LISTEN {CANCEL_CHANNEL}")
        tick = min(TICK_SECONDS, self._period / 2)
        due = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + self._period
                self._beat(connection)
            self._look(connection, self._holds.not_looked_at())
            self._holds.check()
            self._look(connection, self._mentioned(connection, tick))

    def _beat(self, connection: Connection) -> None:
        since = self._holds.clock()
        asked = self._holds.current()
        with Session(connection) as session:
            beat = extend(session, asked, self._holds.lease_seconds)
            self._holds.beaten(asked, beat.kept, since)
            self._holds.cancel(beat.cancel)
            self._say_alive(session)

    def _look(self, connection: Connection, holds: list[Hold]) -> None:
        """Ask for these whether they are to be canceled."""
        if holds:
            query = select(Job.id).where(Job.id.in_([hold.job_id for hold in holds]), Job.cancel_requested)
            self._holds.cancel(connection.scalars(query).all())

    def _mentioned(self, connection: Connection, seconds: float) -> list[Hold]:
        """Listen for a while; the holds whose jobs were spoken of."""
        raw: Any = connection.connection.driver_connection
        said = {note.payload for note in raw.notifies(timeout=seconds, stop_after=1)}
        return [hold for hold in self._holds.current() if str(hold.job_id) in said] if said else []
