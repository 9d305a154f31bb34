"""What this process holds: its leases by its own clock, and why an item must not go on. Shared between threads.

Only the monotonic clock is used here. A hold is good until one lease after the moment *before* the last statement
that extended it was sent, so this process always thinks it lost a lease no later than Postgres does.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from models.jobs import Hold


class Stop(StrEnum):
    """Why an item must not go on."""

    CANCELED = "canceled"
    """The client asked."""
    LOST = "lost"
    """The lease is somebody else's, or may be."""
    DRAINED = "drained"
    """This worker stops."""
    TIMED_OUT = "timed_out"
    """Its batch ran too long."""


@dataclass
class _Entry:
    good_until: float
    stop: Stop | None = None
    looked_at: bool = False


class Holds:
    """The registry. `on_stop` hears of each hold that was flagged, once."""

    def __init__(
        self,
        lease_seconds: float,
        on_stop: Callable[[Hold, Stop], None] = lambda _hold, _stop: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease_seconds = lease_seconds
        self.on_stop = on_stop
        self.clock = clock
        self._entries: dict[Hold, _Entry] = {}
        self._lock = threading.Lock()

    def add(self, holds: Iterable[Hold], since: float) -> None:
        """Just claimed by a statement that was sent at `since`."""
        with self._lock:
            for hold in holds:
                self._entries[hold] = _Entry(since + self.lease_seconds)

    def forget(self, hold: Hold) -> None:
        """It ended, one way or another."""
        with self._lock:
            self._entries.pop(hold, None)

    def has(self, hold: Hold) -> bool:
        """Whether it has not ended yet."""
        with self._lock:
            return hold in self._entries

    def current(self) -> list[Hold]:
        """All that is held and not lost."""
        with self._lock:
            return [hold for hold, entry in self._entries.items() if entry.stop is not Stop.LOST]

    def not_looked_at(self) -> list[Hold]:
        """Those held since the last call: a cancel may have come between their claim and now."""
        with self._lock:
            found = [hold for hold, entry in self._entries.items() if not entry.looked_at]
            for hold in found:
                self._entries[hold].looked_at = True
            return found

    def beaten(self, asked: Iterable[Hold], kept: frozenset[UUID], since: float) -> None:
        """A heartbeat sent at `since` extended the jobs in `kept`; the others that it asked for are lost."""
        for hold in asked:
            newest = self._newest_attempt(hold.job_id)
            if hold.job_id in kept and hold.attempt == newest:
                with self._lock:
                    if (entry := self._entries.get(hold)) is not None:
                        entry.good_until = since + self.lease_seconds
            else:
                self._flag(hold, Stop.LOST)

    def cancel(self, job_ids: Iterable[UUID]) -> None:
        """The client asked for the end of these."""
        wanted = set(job_ids)
        for hold in self.current():
            if hold.job_id in wanted:
                self._flag(hold, Stop.CANCELED)

    def drain(self, hold: Hold) -> None:
        """There is no time left to finish it."""
        self._flag(hold, Stop.DRAINED)

    def time_out(self, hold: Hold) -> None:
        """Its batch ran too long."""
        self._flag(hold, Stop.TIMED_OUT)

    def check(self) -> None:
        """Flag what ran out by our own clock."""
        for hold in self.current():
            self.stop_of(hold)

    def stop_of(self, hold: Hold) -> Stop | None:
        """Why this must not go on, or None. A hold that is not known was lost."""
        with self._lock:
            entry = self._entries.get(hold)
            if entry is None:
                return Stop.LOST
            if entry.stop is Stop.LOST or self.clock() < entry.good_until:
                return entry.stop
        self._flag(hold, Stop.LOST)
        return Stop.LOST

    def _newest_attempt(self, job_id: UUID) -> int:
        with self._lock:
            return max((hold.attempt for hold in self._entries if hold.job_id == job_id), default=0)

    def _flag(self, hold: Hold, stop: Stop) -> None:
        """The first reason stays, but for a lost lease: that outranks the others."""
        with self._lock:
            entry = self._entries.get(hold)
            if entry is None or entry.stop is Stop.LOST or (entry.stop is not None and stop is not Stop.LOST):
                return
            entry.stop = stop
        self.on_stop(hold, stop)
