"""The watchdog: a thread that notices when a pipeline does not come back, and ends its jobs and this process.

The heartbeat would keep the leases of a hung batch for ever. Only the time inside the pipeline counts, not what it
waits for the courier. First the batch is asked to stop, as a cancel would; what goes on after a grace is hung, and no
thread of Python can be ended from outside, so the process ends and Celery starts a fresh one. Loading a checkpoint has
a limit of its own, and is not asked: it heeds nobody.
"""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from models.jobs import Hold
from worker.holds import Holds
from worker.pipelines.base import Output

GRACE_SECONDS = 5.0
"""How long a pipeline may take to its next step after it was asked to stop."""
END_SECONDS = 40.0
"""What ending in order may take: the courier stores what was finished before."""
TICK_SECONDS = 0.25

log = structlog.get_logger()


@dataclass
class _Call:
    """One call of `Pipeline.run`, or the loading before it."""

    holds: Sequence[Hold]
    since: float
    """When it would have begun, had it never waited for its consumer."""
    limit_seconds: float
    """0 means for ever."""
    heeds: bool = True
    """Whether it looks for a stop flag."""
    asked_at: float | None = None


class Watchdog:
    """Watches one call at a time. `end` is called with the holds of a hung one, and must end the process."""

    def __init__(
        self, timeout_seconds: float, holds: Holds, load_seconds: float = 0.0, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self.end: Callable[[Sequence[Hold]], None] = lambda _holds: None
        self._timeout = timeout_seconds
        self._load_seconds = load_seconds
        self._grace = grace_seconds
        self._holds = holds
        self._inside: _Call | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin, unless both limits are 0."""
        if self._timeout or self._load_seconds:
            self._thread.start()

    def stop(self) -> None:
        """End; may be called by `end`."""
        self._stopping.set()

    def watch(self, outputs: Iterator[Output], holds: Sequence[Hold], limit_seconds: float = 0.0) -> Iterator[Output]:
        """The same outputs; the watchdog looks while the next one is made.

        `limit_seconds` is what the params themselves allow a run, where that is more than the setting.
        """
        limit = max(self._timeout, limit_seconds) if self._timeout else 0.0
        call = _Call(holds, time.monotonic(), limit)
        while True:
            self._enter(call)
            try:
                output = next(outputs, None)
            finally:
                left_at = self._leave()
            if output is None:
                return
            yield output
            call.since += time.monotonic() - left_at

    @contextmanager
    def loading(self, holds: Sequence[Hold]) -> Iterator[None]:
        """The watchdog looks while the checkpoint of these is loaded, and fetched if need be."""
        self._enter(_Call(holds, time.monotonic(), self._load_seconds, heeds=False))
        try:
            yield
        finally:
            self._leave()

    def _enter(self, call: _Call) -> None:
        self._inside = call
        if call.limit_seconds:
            # Code that keeps the GIL stops this thread and the heartbeat as well: then only this timer, which needs
            # no GIL, can end the process. Its jobs are found by their leases.
            spent = time.monotonic() - call.since
            latest = max(call.limit_seconds - spent, 0) + self._grace + END_SECONDS
            faulthandler.dump_traceback_later(latest, exit=True, file=sys.__stderr__ or 2)

    def _leave(self) -> float:
        call, self._inside = self._inside, None
        if call is not None and call.limit_seconds:
            faulthandler.cancel_dump_traceback_later()
        return time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            if (call := self._inside) is not None:
                self._look(call)

    def _look(self, call: _Call) -> None:
        now = time.monotonic()
        if not call.limit_seconds or now - call.since < call.limit_seconds:
            return
        if not call.heeds:
            self.end(call.holds)
        elif call.asked_at is None:
            call.asked_at = now
            log.warning("a batch takes too long and is asked to stop", jobs=[str(hold.job_id) for hold in call.holds])
            for hold in call.holds:
                self._holds.time_out(hold)
        elif now - call.asked_at >= self._grace:
            self.end(call.holds)
