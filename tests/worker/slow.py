"""A pipeline family for tests: deterministic pictures, a sleep per step, and accidents that the prompt asks for.

`a cat` is as fast as can be, `step 0.05` sleeps that long in every step, `oom 2` has no memory for more items, `oom
slim 1` nor for one until slimmed once, `hog` asks for more memory than there is, `invalid` can never succeed, `raise`
raises an ordinary exception, `missing` makes no picture, `kill` ends the process as a crash does, `hang` never comes
back, `unlike` makes other pictures in each process. A checkpoint of the name `hangs` is never loaded.

With `SLOW_TRACE=<file>` every process says there which jobs it runs and each step that it makes of them.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from models.errors import InvalidInputError, OutOfMemoryError
from models.params import TextToImageParams
from tests.weights import weights
from worker.devices import Device
from worker.pipelines import FAMILIES
from worker.pipelines.base import CheckpointFiles, Context, Item, Picture, Pipeline

TRACE_VARIABLE = "SLOW_TRACE"


class Slow(Pipeline):
    family = "slow"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_to_image"})
    setups: ClassVar[list[str]] = []

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.slimmed = 0
        self.batches: list[int] = []

    @classmethod
    def setup(cls, files: CheckpointFiles, device: Device) -> Self:
        assert device.kind == "cpu"
        cls.setups.append(files.name)
        if files.name == "hangs":
            time.sleep(3600)
        return cls(sum(path.stat().st_size for path in files.folder.glob("*.safetensors")))

    @property
    def memory_bytes(self) -> int:
        return self.size_bytes

    def slim(self) -> str:
        self.slimmed += 1
        return "slim" if self.slimmed <= 2 else ""

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Picture]:
        self.batches.append(len(items))
        _trace("run", items)
        params = [_text(item) for item in items]
        for item, given in zip(items, params, strict=True):
            self._accident(item, given.prompt, len(items))
        steps = params[0].num_inference_steps or 1
        for step in range(steps):
            context.raise_if_all_stopped()
            time.sleep(max(_seconds(given.prompt) for given in params))
            _trace("step", items)
            context.step(step + 1, steps)
            if context.wants_preview():
                context.preview(items[0].job_id, pixels_of(params[0], 0))
        for item, given in zip(items, params, strict=True):
            if given.prompt == "missing" or context.stopped(item.job_id):
                continue
            for index in range(given.num_images):
                pixels = pixels_of(given, index)
                if given.prompt == "unlike":
                    pixels ^= np.uint8(os.getpid() % 255 + 1)
                yield Picture(item.job_id, index, pixels, given.seed or 0)

    def _accident(self, item: Item, prompt: str, company: int) -> None:
        words = prompt.split()
        if words[0] == "oom" and (company > int(words[-1]) or ("slim" in words and not self.slimmed)):
            raise OutOfMemoryError("no room")
        if prompt == "hog":
            np.empty(1 << 60, np.uint8)
        if prompt == "invalid":
            raise InvalidInputError("never", job_id=str(item.job_id))
        if prompt == "raise":
            raise RuntimeError("a secret prompt: raise, in /home/somebody/model.py")
        if prompt == "hang":
            time.sleep(3600)
        if prompt == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def pixels_of(params: TextToImageParams, index: int) -> Any:
    """(H, W, 3) uint8 noise of (seed, index)."""
    size = (params.height or 64, params.width or 64, 3)
    return np.random.default_rng([params.seed or 0, index]).integers(0, 255, size, np.uint8, endpoint=True)


def _trace(what: str, items: Sequence[Item]) -> None:
    """One write for all of it, so that lines of several processes never mix."""
    if path := os.environ.get(TRACE_VARIABLE):
        lines = "".join(f"{what} {item.job_id} {os.getpid()} {time.time()}\n" for item in items)
        with Path(path).open("ab", buffering=0) as stream:
            stream.write(lines.encode())


def _text(item: Item) -> TextToImageParams:
    assert isinstance(item.params, TextToImageParams)
    return item.params


def _seconds(prompt: str) -> float:
    return float(prompt.split()[1]) if prompt.startswith("step ") else 0.0


def write_checkpoint(folder: Path, size_bytes: int = 64) -> Path:
    """The files that a checkpoint of this family has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights(size_bytes))
    return folder


FAMILIES["slow"] = f"{__name__}:Slow"
