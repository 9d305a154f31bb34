"""Progress and previews on their way to Redis, from a thread of their own: the device never waits for Redis.

Only the newest figure of a job counts; what comes faster than a few times a second is left out.
"""

import io
import threading
import time
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from PIL import Image

from models.progress import Progress, ProgressBoard

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels

REPORT_SECONDS = 0.2
PREVIEW_SIDE = 256
"""Longest side of a preview, in pixels."""

log = structlog.get_logger()


class Reporter:
    """Takes figures at any rate and writes the newest ones at a bearable one."""

    def __init__(self, board: ProgressBoard, period_seconds: float = REPORT_SECONDS) -> None:
        self._board = board
        self._period = period_seconds
        self._progress: dict[UUID, Progress] = {}
        self._previews: dict[UUID, Pixels] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """End; what was not written yet is left out."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def say(self, progress: dict[UUID, Progress]) -> None:
        """Note how far these jobs are; returns at once."""
        with self._changed:
            self._progress |= progress
            self._changed.notify()

    def show(self, job_id: UUID, pixels: "Pixels") -> None:
        """Note a preview, (H, W, 3) uint8; returns at once."""
        with self._changed:
            self._previews[job_id] = pixels

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._progress)
                if self._stopping:
                    return
                progress, self._progress = self._progress, {}
                previews, self._previews = self._previews, {}
            try:
                self._board.put(progress, {job_id: as_png(pixels) for job_id, pixels in previews.items()})
            except Exception as error:  # noqa: BLE001  # progress is never worth a thread
                log.warning("progress was not written", error=type(error).__name__)
            time.sleep(self._period)


def as_png(pixels: "Pixels") -> bytes:
    """A small PNG of (H, W, 3) uint8."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
