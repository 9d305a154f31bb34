"""LISTEN on the outbox's channel, in a thread with a connection of its own. Only to be fast: polling finds the same."""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Engine

from models.webhooks.outbox import CHANNEL

TICK_SECONDS = 0.5
RECONNECT_SECONDS = 1.0

log = structlog.get_logger()


class Listener:
    """Calls `ring` for what was notified, until `stop`."""

    def __init__(self, engine: Engine, ring: Callable[[], None]) -> None:
        self._engine = engine
        self._ring = ring
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; within about a tick."""
        self._stopping.set()
        self._thread.join(TICK_SECONDS * 4)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except Exception as error:  # noqa: BLE001  # whatever it was, being fast is worth another try
                log.warning("the listener lost Postgres", error=type(error).__name__)
                self._stopping.wait(RECONNECT_SECONDS)

    def _serve(self) -> None:
        with self._engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            self._ring()  # what was told while nobody listened
            raw: Any = connection.connection.driver_connection
            try:
                while not self._stopping.is_set():
                    if any(raw.notifies(timeout=TICK_SECONDS, stop_after=1)):
                        self._ring()
            finally:
                plain.invalidate()  # it listens: no other may get it from the pool
