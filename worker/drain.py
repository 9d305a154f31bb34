"""How a worker learns that it must stop: Celery's main process hears SIGTERM and tells its child by signal.

The child runs batches on its main thread, so handlers only set plain attributes. SIGUSR1 is Celery's soft time limit;
SIGTERM in the child itself (systemd stops a whole group) means the same as SIGUSR2 while a batch runs.

The first request lets the running batch end if it can within `drain_seconds`; the second ends it at its next step. That
one is a signal of its own, since two of the same may arrive as one.

A batch that comes to no step in time (it loads, its step is long, it waits for the courier) cannot be ended, but its
jobs need not wait for that: `Deadline` lets them go from a thread of its own, and whatever the batch still makes is
fenced out.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import structlog

DRAIN_SIGNAL = signal.SIGUSR2
HURRY_SIGNAL = signal.SIGURG
"""Ignored by a child that does not listen yet."""
TICK_SECONDS = 0.25

log = structlog.get_logger()


@dataclass
class Drain:
    """Whether this process stops, and until when it may still work."""

    grace_seconds: float
    deadline: float | None = None
    """Monotonic; None while nobody asked."""

    @property
    def requested(self) -> bool:
        """Whether no further batch may be claimed."""
        return self.deadline is not None

    def request(self) -> None:
        """Stop soon; asked a second time, stop now."""
        if self.requested:
            self.hurry()
        else:
            self.deadline = time.monotonic() + self.grace_seconds

    def hurry(self) -> None:
        """Stop at the next step."""
        self.deadline = time.monotonic()

    def leaves_no_time_for(self, seconds: float) -> bool:
        """Whether work that takes this long from now would end too late."""
        return self.deadline is not None and time.monotonic() + seconds > self.deadline

    def listen(self) -> None:
        """Take the two signals of this module. Only on the main thread."""
        signal.signal(DRAIN_SIGNAL, lambda _number, _frame: self.request())
        signal.signal(HURRY_SIGNAL, lambda _number, _frame: self.hurry())

    @contextlib.contextmanager
    def listening(self, number: signal.Signals) -> Iterator[None]:
        """Take this signal as a request meanwhile. Only on the main thread."""
        before = signal.signal(number, lambda _number, _frame: self.request())
        try:
            yield
        finally:
            signal.signal(number, before)


class Deadline:
    """A thread that calls `passed` once the drain's time is up, and again at each tick: a claim may have been late."""

    def __init__(self, drain: Drain, passed: Callable[[], None]) -> None:
        self._drain = drain
        self._passed = passed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            if self._drain.leaves_no_time_for(0):
                try:
                    self._passed()
                except Exception:
                    log.exception("jobs could not be let go; they are when the worker ends")


def tell(pids: Iterable[int], number: signal.Signals) -> None:
    """Send these children a signal."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
