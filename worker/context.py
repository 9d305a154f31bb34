"""What a running batch may ask of the worker: `worker.pipelines.base.Context`, over holds, drain and reporter."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from models.errors import CheckpointUnavailableError, StoppedError
from models.jobs import Hold
from models.progress import Progress
from worker.drain import Drain
from worker.holds import Holds, Stop
from worker.reporter import Reporter

if TYPE_CHECKING:
    from worker.pipelines.base import Library, Pixels, Shelf

PREVIEW_SECONDS = 0.7
"""Between two previews, at least."""
PREVIEW_SHARE = 0.01
"""Of the device's time: what previews may cost. Where decoding is slow beside the net, they come less often."""
PREVIEW_MOST_SECONDS = 10.0
"""Between two previews, at most: the first one may have fitted a matrix."""
NEARLY_DONE_SECONDS = 0.05
"""When the next batch is claimed, or a step before the end: a claim takes a few milliseconds."""


@dataclass
class PreviewPace:
    """When the next preview may be made, by what the last one cost. One for all batches: a batch may be shorter."""

    clock: Callable[[], float] = time.monotonic
    _due: float = 0.0
    _asked_at: float = 0.0

    def begins(self) -> None:
        """A batch: its first moments show nothing."""
        self._due = max(self._due, self.clock() + PREVIEW_SECONDS)

    def due(self) -> bool:
        """Whether it is time for one; the caller makes it now."""
        now = self.clock()
        if now < self._due:
            return False
        self._asked_at, self._due = now, now + PREVIEW_SECONDS
        return True

    def made(self) -> None:
        """It is there, or one of several."""
        now = self.clock()
        pause = (now - self._asked_at) / PREVIEW_SHARE
        self._due = now + min(max(pause, PREVIEW_SECONDS), PREVIEW_MOST_SECONDS)


class RunContext:
    """For one call of `Pipeline.run`. Every method costs microseconds."""

    def __init__(
        self,
        batch: Sequence[Hold],
        holds: Holds,
        drain: Drain,
        reporter: Reporter,
        on_nearly_done: Callable[[], None] | None = None,
        pace: PreviewPace | None = None,
        library: "Library | None" = None,
        shelf_of: "Callable[[Hold], Shelf] | None" = None,
        unseen: frozenset[UUID] = frozenset(),
    ) -> None:
        self._batch = {hold.job_id: hold for hold in batch}
        self._holds = holds
        self._drain = drain
        self._reporter = reporter
        self._on_nearly_done = on_nearly_done
        self._library = library
        self._shelf_of = shelf_of
        self._unseen = unseen
        self._started = time.monotonic()
        self._pace = pace or PreviewPace()
        self._pace.begins()
        self._remaining_seconds = 0.0
        self._done, self._total = 0, 1
        self._previews = dict.fromkeys(self._batch, 0)

    @property
    def library(self) -> "Library":
        """Other checkpoints."""
        if self._library is None:
            raise CheckpointUnavailableError("There is no library here.")
        return self._library

    def shelf(self, job_id: UUID) -> "Shelf":
        """Where the item's state is put aside."""
        if self._shelf_of is None:
            raise CheckpointUnavailableError("There is no shelf here.")
        return self._shelf_of(self._batch[job_id])

    def step(self, done: int, total: int) -> None:
        """Say how far the batch is, between steps."""
        self._done, self._total = done, max(total, 1)
        if done:
            self._remaining_seconds = (time.monotonic() - self._started) / done * max(total - done, 0)
        self._reporter.say({job_id: self._progress(hold) for job_id, hold in self._batch.items()})
        nearly = total - done <= 1 or self._remaining_seconds <= NEARLY_DONE_SECONDS
        if done and nearly and self._on_nearly_done is not None:
            self._on_nearly_done()
            self._on_nearly_done = None

    def stopped(self, job_id: UUID) -> bool:
        """Whether this item must not go on."""
        return self.stop_of(job_id) is not None

    def stop_of(self, job_id: UUID) -> Stop | None:
        """Why it must not."""
        hold = self._batch[job_id]
        if self._drain.leaves_no_time_for(self._remaining_seconds):
            self._holds.drain(hold)
        return self._holds.stop_of(hold)

    def raise_if_all_stopped(self) -> None:
        """Raises `StoppedError` when no item is wanted any more."""
        if all(self.stopped(job_id) for job_id in self._batch):
            raise StoppedError("no item of the batch is wanted any more")

    def wants_preview(self) -> bool:
        """Whether it is time for one."""
        return self._pace.due()

    def preview(self, job_id: UUID, pixels: "Pixels") -> None:
        """Show a rough (H, W, 3) uint8 picture of the item as it stands, unless its pictures are to be filtered."""
        self._pace.made()
        if job_id in self._unseen:
            return
        self._previews[job_id] += 1
        self._reporter.show(job_id, pixels)
        self._reporter.say({job_id: self._progress(self._batch[job_id])})

    def _progress(self, hold: Hold) -> Progress:
        return Progress(hold.attempt, "running", self._done, self._total, self._previews[hold.job_id])
