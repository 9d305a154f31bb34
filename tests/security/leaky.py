"""A pipeline family that fails in every way there is, and quotes the prompt each time: nothing may carry it out."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError, TransientError
from models.params import TextToImageParams
from worker.devices import Device
from worker.pipelines import FAMILIES
from worker.pipelines.base import CheckpointFiles, Context, Item, Picture, Pipeline

TYPED: dict[str, type[Exception]] = {
    "invalid": InvalidInputError,
    "oom": OutOfMemoryError,
    "failed": PipelineFailedError,
    "transient": TransientError,
}
"""First word of a prompt → what is raised."""


class Leaky(Pipeline):
    """The first word of the prompt says what goes wrong; anything else makes a picture."""

    family = "leaky"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_to_image"})

    @classmethod
    def setup(cls, files: CheckpointFiles, device: Device) -> Self:  # noqa: ARG003  # it needs neither
        return cls()

    @property
    def memory_bytes(self) -> int:
        return 1

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Picture]:
        for item in items:
            yield from self._one(item, context)

    def _one(self, item: Item, context: Context) -> Iterator[Picture]:
        assert isinstance(item.params, TextToImageParams)
        prompt = item.params.prompt
        word = prompt.split()[0]
        if word in TYPED:
            raise TYPED[word](f"cannot draw {prompt!r}")
        if word == "raise":
            raise RuntimeError(f"no {prompt} here") from ValueError(prompt)
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "wait":
            while not context.stopped(item.job_id):
                time.sleep(0.05)
            return
        context.step(1, 1)
        pixels: Any = np.zeros((item.params.height or 64, item.params.width or 64, 3), np.uint8)
        yield Picture(item.job_id, 0, pixels, item.params.seed or 0)


FAMILIES["leaky"] = f"{__name__}:Leaky"
logging.captureWarnings(capture=True)
warnings.simplefilter("always")
