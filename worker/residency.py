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
from worker.checkpoint_files import CheckpointStore, weights_bytes
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
        self._running: UUID | None = None

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
            OutOfMemoryError: it does not fit the device even alone.
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
        self._loaded[checkpoint_id] = resident
        self._evict_until(lambda: self.used_bytes <= self._budget, keep=1)
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

    def evict_all(self) -> None:
        """Let go of everything."""
        self._evict_until(lambda: False)

    def _load(self, row: Checkpoint) -> Resident:
        family = load_family(row.family)
        try:
            files = self._store.files_of(row)
        except StorageError as error:
            raise TransientError(error.detail) from error
        estimate = weights_bytes(row)
        self._evict_until(lambda: self.used_bytes + estimate <= self._budget)
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

    def _evict_until(self, enough: Callable[[], bool], keep: int = 0) -> None:
        evicted = False
        for checkpoint_id in [known for known in self._loaded if known != self._running]:
            if len(self._loaded) <= keep or enough():
                break
            resident = self._loaded.pop(checkpoint_id)
            resident.pipeline.close()
            log.info("evicted a checkpoint", checkpoint=resident.row.name, mib=resident.size_bytes >> 20)
            del resident
            evicted = True
        if evicted:
            gc.collect()
            self._device.empty_cache()
