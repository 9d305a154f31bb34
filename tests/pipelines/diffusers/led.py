"""Jobs that take pictures, and a library of other checkpoints, for the tests beside this file."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from models.errors import CheckpointUnavailableError
from models.params import TASKS, CheckpointProfile
from tests.pipelines.conftest import SIZE, Recorder
from worker.pipelines.base import Blob, CheckpointFiles, Item, Pipeline

PROFILE = CheckpointProfile(default_width=SIZE, default_height=SIZE, default_steps=3, default_guidance=4.0)


def blob(pixels: Any) -> Blob:
    """A picture as it lies in S3."""
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return Blob(body.getvalue(), "image/png")


def picture(seed: int = 1, width: int = SIZE, height: int = SIZE) -> Any:
    """Smooth colours, others for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def led(task: str, inputs: Mapping[str, Any], profile: CheckpointProfile = PROFILE, **params: Any) -> Item:
    """A resolved job of any task, with these pictures as its inputs."""
    refs: dict[str, Any] = {}
    for name in inputs:
        ref = {"upload": str(uuid4())}
        if "/" in name:
            refs.setdefault(name.split("/")[0], []).append(ref)
        else:
            refs[name] = ref
    seeded = {"seed": 1} if "seed" in TASKS[task].model_fields else {}
    asked = TASKS[task].model_validate({**refs, **seeded, **params}).resolved(profile)
    return Item(uuid4(), task, asked, {name: blob(pixels) for name, pixels in inputs.items()})


@dataclass
class Shelf:
    """Other checkpoints by name."""

    pipelines: dict[str | None, Any] = field(default_factory=dict)
    folders: dict[str, CheckpointFiles] = field(default_factory=dict)

    def pipeline(self, task: str, name: str | None = None, _revision: str | None = None) -> Pipeline:
        if name not in self.pipelines:
            raise CheckpointUnavailableError(f"{name} does not do {task}.")
        found: Pipeline = self.pipelines[name]
        return found

    def files(self, name: str, _revision: str | None = None) -> CheckpointFiles:
        return self.folders[name]


@dataclass
class WithLibrary(Recorder):
    """A worker's side that has other checkpoints."""

    library: Shelf = field(default_factory=Shelf)


def distance(left: Any, right: Any) -> int:
    """The largest difference of any channel of any pixel, 0 to 255."""
    return int(np.abs(left.astype(int) - right.astype(int)).max())
