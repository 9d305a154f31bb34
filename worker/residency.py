"""The checkpoints that this process holds loaded: least recently used out first, and out *before* the next comes in."""

import gc
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from models.checkpoints import Checkpoint
from models.errors import CheckpointUnavailableError, OutOfMemoryError, RunError, StorageError, TransientError
from models.session import Sessions
from worker.checkpoint_files import CheckpointStore
from worker.devices import Device
from worker.faults import clean, is_shortage
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Pipeline

log = structlog.get_logger()


@dataclass
class Resident:
    """A loaded checkpoint."""

    row: Checkpoint
    pipeline: Pipeline
    size_bytes: int
    max_items: dict[Hashable, int] = field(default_factory=dict)
    """How many items of a shape fit at once, where a batch once did not."""


class Residency:
    """Loads, keeps and evicts within a budget of bytes. Used by the running thread only; `names` by any."""

    def __init__(self, sessions: Sessions, store: CheckpointStore, device: Device, budget_bytes: int) -> None:
        self._sessions = sessions
        self._store = store
        self._device = device
        self._budget = budget_bytes
        self._loaded: OrderedDict[UUID, Resident] = OrderedDict()
        self._sizes: dict[UUID, int] = {}
        """What each took when it was last loaded, which is better than any estimate."""
        self._running: UUID | None = None
        self._beside: set[UUID] = set()
        """What the running one was given."""

    @property
    def ids(self) -> list[UUID]:
        """Of what is loaded, least recently used first."""
        return list(self._loaded)

    @property
    def names(self) -> list[str]:
        """Of what is loaded, for people."""
        return [resident.row.name for resident in tuple(self._loaded.values())]

    @property
    def used_bytes(self) -> int:
        """What all of it takes together."""
        return sum(resident.size_bytes for resident in tuple(self._loaded.values()))

    def get(self, checkpoint_id: UUID) -> Resident:
        """The checkpoint, loaded now if it was not.

        Raises:
            CheckpointUnavailableError: files or family do not fit what was registered.
            OutOfMemoryError: it does not fit the device even alone, or not the budget beside what runs.
            TransientError: its source does not answer.
        """
        if (resident := self._loaded.get(checkpoint_id)) is not None:
            self._loaded.move_to_end(checkpoint_id)
            return resident
        with self._sessions() as session:
            row = session.get(Checkpoint, checkpoint_id)
        if row is None:
            raise CheckpointUnavailableError("The checkpoint is not registered any more.")
        started = time.monotonic()
        resident = self._load(row)
        self._sizes[checkpoint_id] = resident.size_bytes
        try:
            self._make_room(row, resident.size_bytes)
        except OutOfMemoryError:
            resident.pipeline.close()
            raise
        self._loaded[checkpoint_id] = resident
        log.info(
            "loaded a checkpoint",
            checkpoint=row.name,
            mib=resident.size_bytes >> 20,
            seconds=round(time.monotonic() - started, 3),
        )
        return resident

    @contextmanager
    def running(self, checkpoint_id: UUID) -> Iterator[None]:
        """While it runs this one is not evicted, whatever else has to be loaded beside it."""
        self._running = checkpoint_id
        try:
            yield
        finally:
            self._running = None
            self.release()

    def beside(self, checkpoint_id: UUID) -> Resident:
        """Another one for the running one, which may hold it until `release`: so long neither is evicted.

        Raises:
            OutOfMemoryError: the budget has no room for them together.
            CheckpointUnavailableError, TransientError: as `get`.
        """
        resident = self.get(checkpoint_id)
        self._beside.add(checkpoint_id)
        return resident

    def release(self) -> None:
        """The running one holds no other any more."""
        self._beside.clear()

    def evict_all(self) -> None:
        """Let go of everything."""
        self._evict_until(lambda: False)

    def _load(self, row: Checkpoint) -> Resident:
        family = load_family(row.family)
        try:
            files = self._store.files_of(row)
        except StorageError as error:
            raise TransientError(error.detail) from error
        self._make_room(row, self._sizes.get(row.id) or family.estimate_bytes(files, self._device))
        pipeline = self._set_up(family, files)
        if pipeline is None:
            # Perhaps the estimate was too low: once more with all the memory there is.
            self.evict_all()
            pipeline = self._set_up(family, files)
        if pipeline is None:
            raise OutOfMemoryError(f"The checkpoint does not fit the memory of {self._device.name}.")
        return Resident(row, pipeline, max(int(pipeline.memory_bytes), 0))

    def _set_up(self, family: type[Pipeline], files: CheckpointFiles) -> Pipeline | None:
        """None when there was not enough memory."""
        try:
            return family.setup(files, self._device)
        except OutOfMemoryError:
            return None
        except RunError:
            raise
        except Exception as error:
            if is_shortage(error):
                return None
            detail = f"{type(error).__name__}: {clean(str(error), ())}"
            raise CheckpointUnavailableError(f"The checkpoint cannot be loaded: {detail}") from error

    def _make_room(self, row: Checkpoint, size_bytes: int) -> None:
        """For one more. Alone it may be larger than the budget, which is no limit of the device; beside others not."""

        def fits() -> bool:
            return self.used_bytes + size_bytes <= self._budget

        self._evict_until(fits)
        if self._loaded and not fits():
            text = f"{row.name} does not fit beside {' and '.join(self.names)}"
            figures = f"{size_bytes >> 20} MiB and {self.used_bytes >> 20} MiB, of {self._budget >> 20} MiB"
            raise OutOfMemoryError(f"{text}: {figures} for checkpoints.", slimmer_helps=False)

    def _evict_until(self, enough: Callable[[], bool]) -> None:
        evicted = False
        for checkpoint_id in [known for known in self._loaded if known not in {self._running, *self._beside}]:
            if enough():
                break
            resident = self._loaded.pop(checkpoint_id)
            resident.pipeline.close()
            log.info("evicted a checkpoint", checkpoint=resident.row.name, mib=resident.size_bytes >> 20)
            del resident
            evicted = True
        if evicted:
            gc.collect()
            self._device.empty_cache()
