"""The contract of every pipeline family: set up once, run many batches, steer by typed exceptions.

A family is one file beside this one and one line in `worker.pipelines.FAMILIES`. It knows nothing of Postgres, S3 or
Celery: it gets resolved params, seeds and the bytes of its inputs, and yields outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from uuid import UUID

from models.errors import InvalidInputError
from models.params import CheckpointProfile, TaskParams
from worker.pipelines.footprint import FLOAT32_BYTES, footprint

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
class Blob:
    """An input as it lies in S3: a picture that was checked at upload or made here, or a zip."""

    body: bytes
    media_type: str

    def picture(self) -> "Pixels":
        """(H, W, 3) uint8 RGB, C-contiguous. What is transparent is laid over white.

        Raises:
            InvalidInputError: these bytes are no picture.
        """
        from worker.pipelines.pixels import read_picture

        return read_picture(self.body)


@dataclass(frozen=True)
class Item:
    """One job's share of a batch. `params` are resolved: no None left, the seed drawn, the prompt in place."""

    job_id: UUID
    task: str
    params: TaskParams
    inputs: Mapping[str, Blob] = field(default_factory=dict)
    """By pointer below `/params`, as `params.inputs()` names them: `image`, `mask`, `images/0`."""

    @property
    def seed(self) -> int:
        """Of its params; resolved params have one where the task draws anything."""
        return getattr(self.params, "seed", 0) or 0

    def picture(self, name: str) -> "Pixels":
        """The input picture of that name, (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: it is none; names the field.
        """
        try:
            return self.inputs[name].picture()
        except InvalidInputError as error:
            raise InvalidInputError(error.detail, job_id=str(self.job_id), field=f"/params/{name}") from error


@dataclass(frozen=True)
class Picture:
    """One finished picture. `pixels` is (H, W, 3) uint8, RGB, C-contiguous, on the CPU."""

    job_id: UUID
    index: int
    pixels: "Pixels"
    seed: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Shown beside the picture, e.g. its score: JSON."""


@dataclass(frozen=True)
class File:
    """One finished file that is no single picture: an animation, a report, a data set. Indexes go on from pictures."""

    job_id: UUID
    index: int
    name: str
    body: bytes
    media_type: str
    size: tuple[int, int] | None = None
    """(width, height) in pixels of an animation or a sheet."""


@dataclass(frozen=True)
class Facts:
    """What the run says in the job's `result`: JSON of at most some hundred KB. Ends an item without a known count.

    Texts that other jobs may take stand in `texts`, a list of strings.
    """

    job_id: UUID
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A new checkpoint: a folder with a card (`safelight.json`), safetensors and text. Registered with the publish."""

    job_id: UUID
    folder: Path


Output = Picture | File | Facts | Trained


class Library(Protocol):
    """Other checkpoints, for families that need a second one: a scorer, an adapter. Loading takes its time."""

    def pipeline(self, task: str, name: str | None = None, revision: str | None = None) -> "Pipeline":
        """The checkpoint of that name (and revision), or the oldest that does the task, loaded beside the running one.

        Raises:
            CheckpointUnavailableError: there is none, or it does not do the task.
        """

    def files(self, name: str, revision: str | None = None) -> "CheckpointFiles":
        """The verified files of a checkpoint, e.g. of a LoRA, not loaded.

        Raises:
            CheckpointUnavailableError: there is no such checkpoint.
        """


class Shelf(Protocol):
    """Where a long run puts its state aside, for the next attempt should this one be lost. Blocks on S3."""

    def save(self, step: int, body: bytes) -> bool:
        """Put aside how things are after so many steps. The newest two are kept. False when storage is away."""

    def load(self) -> bytes | None:
        """The newest that is whole, whichever attempt saved it.

        Raises:
            TransientError: storage is away; beginning afresh would throw work away.
        """


class Context(Protocol):
    """What a running pipeline may ask of the worker. All calls are cheap and never block on a service."""

    @property
    def library(self) -> Library:
        """Other checkpoints. Unlike the rest of the context it may block."""

    def shelf(self, job_id: UUID) -> Shelf:
        """The item's own. It is emptied when the job has ended."""

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
    weights: tuple[str, ...] = ()
    """Those of its files that hold weights."""


class Pipeline(ABC):
    """One loaded checkpoint of one family on one device."""

    family: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE
    in_float32: ClassVar[bool] = False
    """Whether its weights are float32 on every device, and not of the device's dtype."""

    @classmethod
    @abstractmethod
    def setup(cls, files: CheckpointFiles, device: "Device") -> Self:
        """Load the weights, once.

        Raises:
            CheckpointUnavailableError: the files do not fit the family.
            OutOfMemoryError: they do not fit the device.
        """

    @classmethod
    def estimate_bytes(cls, files: CheckpointFiles, device: "Device") -> int:
        """What `setup` is going to hold of the device's memory: room is made for so much before it is called.

        As its files say. A family that knows better says so.
        """
        paths = [files.folder / name for name in files.weights]
        return footprint(paths, FLOAT32_BYTES if cls.in_float32 else device.dtype.itemsize)

    @abstractmethod
    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """Make the outputs of a batch whose items share one batch key, yielding each as it is finished.

        An item has ended with its `params.outputs()`th output, or with its `Facts` where that is None.

        Raises:
            InvalidInputError: an item that can never succeed (its `extra["job_id"]` names it).
            OutOfMemoryError: the batch did not fit; the worker makes it smaller.
            StoppedError: through `context`, when nobody wants the batch any more.
        """

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """What the loaded weights hold of the device's memory."""

    def slim(self) -> str:
        """Take the next step of the memory ladder and say which (`decoder in slices`); empty when none is left."""
        return ""

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
