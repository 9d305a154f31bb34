"""The contract of every pipeline family: set up once, run many batches, steer by typed exceptions.

A family is one file beside this one and one line in `worker.pipelines.FAMILIES`. It knows nothing of Postgres, S3 or
Celery: it gets resolved params and seeds, and yields pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from uuid import UUID

from models.params import CheckpointProfile, TaskParams

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from worker.devices import Device

    Pixels = npt.NDArray[np.uint8]


class Determinism(StrEnum):
    """How far the same request gives the same picture."""

    EXACT = "exact"
    """The same bytes, whatever runs beside it."""
    SAME_BATCH_SHAPE = "same_batch_shape"
    """The same bytes in a batch of the same shape; else equal to the eye."""
    NONE = "none"


@dataclass(frozen=True)
class Item:
    """One job's share of a batch. `params` are resolved: no None left, the seed drawn."""

    job_id: UUID
    task: str
    params: TaskParams


@dataclass(frozen=True)
class Picture:
    """One finished picture. `pixels` is (H, W, 3) uint8, RGB, C-contiguous, on the CPU."""

    job_id: UUID
    index: int
    pixels: "Pixels"
    seed: int


class Context(Protocol):
    """What a running pipeline may ask of the worker. All calls are cheap and never block on a service."""

    def step(self, done: int, total: int) -> None:
        """Say how far the batch is, between steps."""

    def stopped(self, job_id: UUID) -> bool:
        """Whether this item must not go on (canceled, lease lost, draining): skip what can be skipped of it."""

    def raise_if_all_stopped(self) -> None:
        """Raises `StoppedError` when no item of the batch is wanted any more. Call between steps."""

    def wants_preview(self) -> bool:
        """Whether a latent preview of this step would be shown; throttled by the worker."""

    def preview(self, job_id: UUID, pixels: "Pixels") -> None:
        """Show a rough (H, W, 3) uint8 picture of the item as it stands."""


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint's verified files on this machine, and what its row says."""

    name: str
    folder: Path
    family: str
    profile: CheckpointProfile
    config: dict[str, Any]
    """Free for a family's own loader; empty for most."""


class Pipeline(ABC):
    """One loaded checkpoint of one family on one device."""

    family: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE

    @classmethod
    @abstractmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the weights, once.

        Raises:
            CheckpointUnavailableError: the files do not fit the family.
            OutOfMemoryError: they do not fit the device.
        """

    @abstractmethod
    def run(self, items: Sequence[Item], context: Context) -> Iterator[Picture]:
        """Make the pictures of a batch whose items share one batch key, yielding each as it is finished.

        Raises:
            InvalidInputError: an item that can never succeed (its `extra["job_id"]` names it).
            OutOfMemoryError: the batch did not fit; the worker makes it smaller.
            StoppedError: through `context`, when nobody wants the batch any more.
        """

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """What the loaded weights hold of the device's memory."""

    def slim(self) -> bool:
        """Take the next step of the memory ladder (slices, tiles, offload). False when there is none left."""
        return False

    def close(self) -> None:  # noqa: B027  # most families have nothing to let go of
        """Let go of what is not memory; the worker drops the object afterwards."""


def generator_for(seed: int, index: int) -> "torch.Generator":
    """The CPU generator of one picture, from (seed, index): the same on whichever worker it runs.

    Seeds of neighbouring pictures are spread by a 64-bit mix (SplitMix64, Steele et al. 2014), so that picture 1 of
    seed 7 is not picture 0 of seed 8.
    """
    import torch

    mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return torch.Generator(device="cpu").manual_seed((mixed ^ (mixed >> 31)) & 0x7FFFFFFFFFFFFFFF)
