"""Tiny checkpoints of every family, loaded once a session, and a context that records what a pipeline says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import torch

from models.errors import StoppedError
from models.params import CheckpointProfile, ClassToImageParams, TextToImageParams
from tests.pipelines.tiny import make
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Item, Picture, Pipeline

SIZE = 32


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Recorder:
    """A worker's side of the contract, by hand."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    previews: list[tuple[UUID, Any]] = field(default_factory=list)
    stopped_ids: set[UUID] = field(default_factory=set)
    job_ids: set[UUID] = field(default_factory=set)
    previews_wanted: bool = False
    at_step: Callable[[int], None] = lambda _done: None

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        self.at_step(done)

    def stopped(self, job_id: UUID) -> bool:
        return job_id in self.stopped_ids

    def raise_if_all_stopped(self) -> None:
        if self.job_ids and self.job_ids <= self.stopped_ids:
            raise StoppedError("Nobody wants this batch.")

    def wants_preview(self) -> bool:
        return self.previews_wanted

    def preview(self, job_id: UUID, pixels: Any) -> None:
        self.previews.append((job_id, pixels))


Folders = Callable[[str], Path]
Load = Callable[[str], Pipeline]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A checkpoint folder by the name of its maker, saved when first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = make(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def cpu() -> Device:
    return Device(torch.device("cpu"), torch.float32, "cpu", 1 << 33)


@pytest.fixture(scope="session")
def load(folders: Folders, cpu: Device) -> Load:
    """A loaded pipeline by the name of its folder's maker, shared by the tests that leave it as it was."""
    loaded: dict[str, Pipeline] = {}

    def pipeline(name: str) -> Pipeline:
        if name not in loaded:
            loaded[name] = open_checkpoint(name, folders(name), cpu)
        return loaded[name]

    return pipeline


def open_checkpoint(name: str, folder: Path, device: Device, **config: Any) -> Pipeline:
    family = "conditional_gan" if name.startswith("gan") else "diffusers"
    names = ("cat", "dog", "bird") if family == "conditional_gan" else ()
    profile = CheckpointProfile(default_width=SIZE, default_height=SIZE, class_names=names)
    return load_family(family).setup(CheckpointFiles(name, folder, family, profile, config), device)


def item(prompt: str = "a cat", **params: Any) -> Item:
    """A small text-to-image job of three steps, resolved."""
    given = {"width": SIZE, "height": SIZE, "num_inference_steps": 3, "guidance_scale": 4.0, "seed": 1} | params
    return Item(uuid4(), "text_to_image", TextToImageParams(prompt=prompt, **given))


def class_item(label: int = 0, **params: Any) -> Item:
    """A class-to-image job, resolved."""
    return Item(uuid4(), "class_to_image", ClassToImageParams(class_label=label, **({"seed": 1} | params)))


def run(pipeline: Pipeline, *items: Item, context: Recorder | None = None) -> list[Picture]:
    """All pictures of a batch."""
    context = context or Recorder()
    context.job_ids = {item.job_id for item in items}
    return list(pipeline.run(items, context))
