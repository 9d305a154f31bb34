"""Counted places: how many streams, waits or decodes may hold a thread at the same time."""

import threading
from collections.abc import Callable
from typing import Self


class Slot:
    """One taken place. Releasing twice is harmless, so that every way out of a response may do it."""

    def __init__(self, slots: "Slots") -> None:
        self._slots: Slots | None = slots
        self._lock = threading.Lock()

    def release(self) -> None:
        """Give the place back."""
        with self._lock:
            slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Slots:
    """A number of places."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self._taken = 0
        self.on_change: Callable[[int], object] = lambda _taken: None
        """Told the new number, in order; for gauges."""
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._taken

    def take(self) -> Slot | None:
        """A place, or None when all are taken; never waits."""
        with self._lock:
            if self._taken >= self.capacity:
                return None
            self._taken += 1
            self.on_change(self._taken)
        return Slot(self)

    def give_back(self) -> None:
        """Called by the slot."""
        with self._lock:
            self._taken -= 1
            self.on_change(self._taken)
