"""Values remembered for a moment, so that a burst of requests asks Postgres once."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
MAX_ENTRIES = 1024


class Remembered(Generic[K, V]):
    """Key → value for `seconds`. Only what was loaded without an error is remembered."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: dict[K, tuple[float, V]] = {}
        self._lock = threading.Lock()

    def get(self, key: K, load: Callable[[], V]) -> V:
        """The remembered value, or a freshly loaded one. Two threads may load at once; neither waits."""
        entry = self._entries.get(key)
        # The age counts from before the load: what changes meanwhile is seen no later than `seconds` after.
        asked_at = time.monotonic()
        if entry is not None and asked_at - entry[0] < self._seconds:
            return entry[1]
        value = load()
        self.put(key, value, asked_at)
        return value

    def has(self, key: K) -> bool:
        """Whether it was loaded before, however long ago."""
        return key in self._entries

    def put(self, key: K, value: V, asked_at: float) -> None:
        """Remember a value as of `asked_at` on the monotonic clock."""
        with self._lock:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()
            self._entries[key] = (asked_at, value)

    def forget(self) -> None:
        """Drop everything: something was changed through this process."""
        with self._lock:
            self._entries.clear()
