"""How a worker learns that it must stop: Celery's main process hears SIGTERM and tells its child with SIGUSR2.

The child runs batches on its main thread, so handlers only set plain attributes. SIGUSR1 is Celery's soft time limit;
SIGTERM in the child itself (systemd stops a whole group) means the same as SIGUSR2 while a batch runs.

The first request lets the running batch end if it can within `drain_seconds`; the second ends it at its next step.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType

DRAIN_SIGNAL = signal.SIGUSR2


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
        now = time.monotonic()
        self.deadline = now + self.grace_seconds if self.deadline is None else now

    def leaves_no_time_for(self, seconds: float) -> bool:
        """Whether work that takes this long from now would end too late."""
        return self.deadline is not None and time.monotonic() + seconds > self.deadline

    def heard(self, _number: int, _frame: FrameType | None) -> None:
        """As a signal handler."""
        self.request()

    @contextlib.contextmanager
    def listening(self, number: signal.Signals) -> Iterator[None]:
        """Take this signal as a request meanwhile. Only on the main thread."""
        before = signal.signal(number, self.heard)
        try:
            yield
        finally:
            signal.signal(number, before)


def tell(pids: Iterable[int]) -> None:
    """Ask these children to drain."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, DRAIN_SIGNAL)
