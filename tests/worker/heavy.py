"""A pipeline family for tests of memory: it holds as many bytes as its file has, each of them written.

`a cat` is a picture at once; `beside NAME` has the checkpoint of that name loaded and holds it meanwhile.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.params import TextToImageParams
from tests.weights import weights_of
from tests.worker.slow import pixels_of
from worker.devices import Device
from worker.pipelines import FAMILIES
from worker.pipelines.base import CheckpointFiles, Context, Item, Picture, Pipeline

FILE = "model.safetensors"


class Heavy(Pipeline):
    family = "heavy"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_to_image"})

    def __init__(self, held: "npt.NDArray[np.uint8]") -> None:
        self._held = held

    @classmethod
    def setup(cls, files: CheckpointFiles, device: Device) -> Self:
        assert device.kind == "cpu"
        return cls(np.fromfile(files.folder / FILE, np.uint8))  # in one piece: nothing beside it, not even for a moment

    @property
    def memory_bytes(self) -> int:
        return self._held.nbytes

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Picture]:
        others = []
        for item in items:
            words = _text(item).prompt.split()
            if words[0] == "beside":
                others.append(context.library.pipeline("text_to_image", words[1]))
        for item in items:
            yield Picture(item.job_id, 0, pixels_of(_text(item), 0), item.seed)
        assert all(other.memory_bytes for other in others)


def _text(item: Item) -> TextToImageParams:
    assert isinstance(item.params, TextToImageParams)
    return item.params


def write_checkpoint(folder: Path, size_bytes: int) -> Path:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(weights_of(bytes(size_bytes)))
    return folder


FAMILIES["heavy"] = f"{__name__}:Heavy"
