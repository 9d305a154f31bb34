"""One thread per process that wakes whoever waits for a job: long polls and event streams.

It LISTENs on a connection of its own. Each second it also asks Postgres once for the newest event of every watched job,
so that a lost notification or a broken connection costs a second and nothing else. Step progress is read from Redis a
few times a second, once for all watched jobs, and only while somebody watches.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog
from psycopg import sql
from sqlalchemy.engine import make_url

from models.events import CHANNEL
from models.progress import Progress, ProgressBoard
from models.session import session_options
from models.settings import Settings

TICK_SECONDS = 0.25
POLL_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
_NEWEST = "SELECT job_id, max(id) FROM job_events WHERE job_id = ANY(%s) GROUP BY job_id"

log = structlog.stdlib.get_logger("safelight.api.hub")


@dataclass(frozen=True)
class Wake:
    """Why a watcher woke: the job has new events, its progress moved, or neither within the time given."""

    events: bool = False
    progress: Progress | None = None
    stopping: bool = False


class Watch:
    """One waiter's view of one job."""

    def __init__(self, job_id: UUID, wants_progress: bool) -> None:
        self.job_id = job_id
        self.wants_progress = wants_progress
        self._condition = threading.Condition()
        self._events = False
        self._progress: Progress | None = None
        self._stopping = False

    def wait(self, seconds: float) -> Wake:
        """Block until something happened, and say what; everything that happened meanwhile is one wake."""
        with self._condition:
            self._condition.wait_for(lambda: self._events or self._progress or self._stopping, timeout=seconds)
            wake = Wake(self._events, self._progress, self._stopping)
            self._events, self._progress = False, None
            return wake

    def wake(self, *, progress: Progress | None = None, stopping: bool = False) -> None:
        """Called by the hub."""
        with self._condition:
            if progress is not None:
                self._progress = progress
            else:
                self._events = True
            self._stopping = self._stopping or stopping
            self._condition.notify_all()


class Hub:
    """The watched jobs and the thread that looks after them."""

    def __init__(self, settings: Settings, board: ProgressBoard, should_stop: Callable[[], bool]) -> None:
        url = make_url(settings.database_url).set(drivername="postgresql")
        self._conninfo = url.render_as_string(hide_password=False)
        self._options = session_options(settings)
        self._board = board
        self._should_stop = should_stop
        self._watches: dict[UUID, set[Watch]] = {}
        self._newest: dict[UUID, int] = {}
        self._shown: dict[UUID, Progress] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @contextlib.contextmanager
    def watch(self, job_id: UUID, *, progress: bool = False) -> Iterator[Watch]:
        """Watch a job. Look at it only after this began: what happens from here on wakes the watch."""
        watch = Watch(job_id, progress)
        with self._lock:
            self._watches.setdefault(job_id, set()).add(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
                self._thread.start()
        if self._stop.is_set():
            watch.wake(stopping=True)
        try:
            yield watch
        finally:
            self._forget(watch)

    def stop(self) -> None:
        """Wake everybody for the last time: the process ends."""
        self._stop.set()
        self._wake_all(stopping=True)

    def _forget(self, watch: Watch) -> None:
        with self._lock:
            others = self._watches.get(watch.job_id, set())
            others.discard(watch)
            if not others:
                self._watches.pop(watch.job_id, None)
                self._newest.pop(watch.job_id, None)
                self._shown.pop(watch.job_id, None)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001  # nobody would wake any more without this thread
                log.warning("hub.reconnect", error=type(error).__name__)
                self._stop.wait(RECONNECT_SECONDS)
            if self._should_stop():
                self.stop()

    def _listen(self) -> None:
        with psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            options=self._options,
            application_name="safelight api hub",
        ) as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            # Whatever was said while nobody listened is found by looking.
            self._wake_all()
            polled_at = time.monotonic()
            while not self._stop.is_set() and not self._should_stop():
                for notification in connection.notifies(timeout=TICK_SECONDS):
                    self._wake_one(notification.payload)
                self._show_progress()
                if time.monotonic() - polled_at >= POLL_SECONDS:
                    polled_at = time.monotonic()
                    self._poll(connection)

    def _poll(self, connection: "psycopg.Connection[tuple[UUID, int]]") -> None:
        with self._lock:
            job_ids = list(self._watches)
        if not job_ids:
            return
        found = dict(connection.execute(_NEWEST, (job_ids,)).fetchall())
        for job_id in job_ids:
            # A job that has no events any more was deleted: its watchers must look.
            newest = found.get(job_id, -1)
            if self._newest.get(job_id) != newest:
                with self._lock:
                    if job_id in self._watches:
                        self._newest[job_id] = newest
                self._wake(job_id)

    def _show_progress(self) -> None:
        with self._lock:
            wanted = [key for key, watches in self._watches.items() if any(watch.wants_progress for watch in watches)]
        for job_id, progress in self._board.get(wanted).items():
            if self._shown.get(job_id) != progress:
                with self._lock:
                    watches = list(self._watches.get(job_id, ()))
                    if watches:
                        self._shown[job_id] = progress
                for watch in watches:
                    if watch.wants_progress:
                        watch.wake(progress=progress)

    def _wake_one(self, payload: str) -> None:
        with contextlib.suppress(ValueError):
            self._wake(UUID(payload))

    def _wake(self, job_id: UUID) -> None:
        with self._lock:
            watches = list(self._watches.get(job_id, ()))
        for watch in watches:
            watch.wake()

    def _wake_all(self, *, stopping: bool = False) -> None:
        with self._lock:
            watches = [watch for group in self._watches.values() for watch in group]
        for watch in watches:
            watch.wake(stopping=stopping)
