"""The worker's end of the courier: hand over, remember until the receipt comes, start it again if it dies or hangs."""

import fcntl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from typing import cast

import structlog

from models.jobs import Hold
from worker.courier.frames import PARCELS_AT_ONCE, Delivery, Drop, Parcel, Receipt, read_receipt, write_frame

MAX_TRIES = 3
"""A parcel during which the courier died this often is what kills it."""
WATCH_SECONDS = 0.5
RESTART_SECONDS = 0.2
EXIT_SECONDS = 5.0
PIPE_BYTES = 1 << 20
"""Of the kernel's buffer, where it may be chosen: fewer turns to hand a picture over."""

log = structlog.get_logger()


@dataclass
class _Waiting:
    """A parcel without a receipt."""

    parcel: Parcel
    pixels: tuple[memoryview, ...]
    tries: int = 0
    busy_seconds: float = 0.0
    """How long the courier has worked on it, in this try."""

    @property
    def images(self) -> int:
        return len(self.parcel.pictures)


@dataclass
class CourierClient:
    """Owns one courier process, one thread that writes to it and one that reads its receipts.

    `on_receipt` is called from the reading thread, once for each parcel.
    """

    on_receipt: Callable[[Receipt], None]
    max_images: int
    """Back-pressure: `hand_over` waits while more than this are on their way."""
    argv: tuple[str, ...] = (sys.executable, "-m", "worker.courier")
    parcel_seconds: float = 240.0
    """A courier that works longer than this on one parcel hangs."""
    _waiting: dict[Hold, _Waiting] = field(default_factory=dict)
    _outbox: deque[Parcel | Drop] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _process: "subprocess.Popen[bytes] | None" = None
    _closing: bool = False

    def start(self) -> None:
        """Start the process and the three threads."""
        threading.Thread(target=self._write_for_ever, name="courier-out", daemon=True).start()
        threading.Thread(target=self._keep_running, name="courier-in", daemon=True).start()
        threading.Thread(target=self._watch, name="courier-watch", daemon=True).start()

    def hand_over(self, parcel: Parcel, pixels: tuple[memoryview, ...], give_up: Callable[[], bool]) -> bool:
        """Queue a parcel; waits while too many images are on their way. False when `give_up` said so meanwhile."""
        entry = _Waiting(parcel, pixels)
        with self._changed:
            while self._waiting and self._images() + entry.images > self.max_images:
                if give_up():
                    return False
                self._changed.wait(0.1)
            self._waiting[parcel.hold] = entry
            self._outbox.append(parcel)
            self._changed.notify_all()
        return True

    def drop(self, hold: Hold) -> None:
        """Ask for an end to a parcel that nobody wants any more; its receipt says whether that came in time."""
        with self._changed:
            if hold in self._waiting:
                self._outbox.append(Drop(hold))
                self._changed.notify_all()

    def has(self, hold: Hold) -> bool:
        """Whether a parcel of this attempt has no receipt yet."""
        with self._changed:
            return hold in self._waiting

    def images_under_way(self) -> int:
        """How many have no receipt yet."""
        with self._changed:
            return self._images()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every parcel has its receipt."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Flush, then end the process."""
        self.flush(timeout_seconds)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        process = self._process
        return process.pid if process is not None else None

    def _images(self) -> int:
        return sum(entry.images for entry in self._waiting.values())

    def _keep_running(self) -> None:
        """Read receipts; when the process is gone, start another and send again what it had not acknowledged."""
        while not self._closing:
            try:
                process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            except OSError as error:
                log.error("the courier cannot be started", error=error.strerror)  # noqa: TRY400  # says it all
                time.sleep(RESTART_SECONDS)
                continue
            _widen(cast(RawIOBase, process.stdin))
            self._adopt(process)
            with BufferedReader(cast(RawIOBase, process.stdout)) as receipts:
                for line in receipts:
                    self._settle(read_receipt(line))
            status = process.wait()
            process.stdin.close()  # type: ignore[union-attr]  # PIPE was asked for
            if not self._closing:
                log.error("the courier died", status=status)
                time.sleep(RESTART_SECONDS)

    def _adopt(self, process: "subprocess.Popen[bytes]") -> None:
        killers = []
        with self._changed:
            self._process = process
            self._outbox.clear()
            for hold, entry in self._waiting.items():
                entry.busy_seconds = 0.0
                if entry.tries >= MAX_TRIES:
                    killers.append(hold)
                else:
                    self._outbox.append(entry.parcel)
            self._changed.notify_all()
        for hold in killers:
            self._settle(Receipt(hold, Delivery.CRASHED))

    def _watch(self) -> None:
        """Kill a courier that lives and does not come to an end with a parcel: its heirs start afresh."""
        before = time.monotonic()
        while not self._closing:
            time.sleep(WATCH_SECONDS)
            now = time.monotonic()
            # Not more than was slept: while this machine or process was stopped, so was the courier.
            self._look(min(now - before, 2 * WATCH_SECONDS))
            before = now

    def _look(self, seconds: float) -> None:
        with self._changed:
            sent = [entry for entry in self._waiting.values() if entry.tries]
            at_work, behind = sent[:PARCELS_AT_ONCE], sent[PARCELS_AT_ONCE:]
            for entry in at_work:
                entry.busy_seconds += seconds
            hung = [entry for entry in at_work if entry.busy_seconds > self.parcel_seconds]
            if not hung or self._process is None:
                return
            for entry in (entry for entry in [*at_work, *behind] if entry not in hung):
                entry.tries -= 1  # not its fault
            for entry in sent:
                entry.busy_seconds = 0.0
            log.error("the courier hangs and is killed", jobs=[str(entry.parcel.hold.job_id) for entry in hung])
            self._process.kill()

    def _settle(self, receipt: Receipt) -> None:
        with self._changed:
            known = receipt.hold in self._waiting
        if not known:
            return
        self.on_receipt(receipt)
        with self._changed:
            self._waiting.pop(receipt.hold, None)
            self._changed.notify_all()

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._outbox and self._process))
                if self._closing:
                    return
                message, process = self._outbox.popleft(), self._process
                entry = self._waiting.get(message.hold)
                if entry is None:
                    continue
                if isinstance(message, Parcel):
                    entry.tries += 1
            try:
                pixels = entry.pixels if isinstance(message, Parcel) else ()
                write_frame(cast(RawIOBase, process.stdin), message, pixels)  # type: ignore[union-attr]
            except (OSError, ValueError):
                log.info("the courier does not read", job=str(message.hold.job_id))


def _widen(pipe: RawIOBase) -> None:
    """Ask for a larger buffer. The kernel may refuse (a user's pipes have a limit together); a small one does."""
    with suppress(OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
