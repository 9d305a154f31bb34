"""Jobs a second of each family's starter checkpoint: through the system, beside the family's own bare loop."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageDraw

from bench.report import Figure
from bench.stack import Stack
from bench.work import time_of
from safelight.client import Job as ClientJob
from safelight.standalone import state as states
from safelight.standalone.layout import Layout

BATCH = 8
"""The setting's default."""
PROMPT = "a cat on a blue background"


@dataclass(frozen=True)
class Row:
    """What one checkpoint is asked for, so many times, one picture or text a job."""

    checkpoint: str
    task: str
    jobs: int
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    makes: str = "images"


ROWS = (
    Row("emoji-64", "text_to_image", 16, {"prompt": PROMPT}),
    Row("emoji-64", "image_to_image", 16, {"prompt": PROMPT}, ("image",)),
    Row("emoji-64", "inpaint", 16, {"prompt": PROMPT}, ("image", "mask")),
    Row("emoji-64", "reconstruct", 32, {}, ("image",)),
    Row("emoji-64-canny", "control", 16, {"prompt": PROMPT}, ("image",)),
    Row("emoji-classes", "class_to_image", 16, {"class_label": 0}),
    Row("emoji-dit", "class_to_image", 16, {"class_label": 0}),
    Row("emoji-ddpm", "sample", 16),
    Row("emoji-vae", "sample", 64),
    Row("emoji-dcgan", "sample", 64),
    Row("emoji-stylegan2", "sample", 64),
    Row("animals-gan", "class_to_image", 64, {"class_label": "cat"}),
    Row("emoji-biggan", "class_to_image", 64, {"class_label": 0}),
    Row("real-esrgan-fast", "upscale", 16, {"scale": 4}, ("image",)),
    Row("style-transfer-lite", "style_transfer", 16, {"style": "woodblock"}, ("image",)),
    Row("vintage", "translate", 8, {"size": 128}, ("image",)),
    Row("emoji-flat-to-3d", "translate", 16, {}, ("image",)),
    Row("emoji-3d-to-flat", "translate", 16, {}, ("image",)),
    Row("smollm2", "expand_prompt", 8, {"prompt": PROMPT, "max_tokens": 20}, makes="texts"),
    Row("prompt-grammar", "expand_prompt", 64, {"prompt": PROMPT}, makes="texts"),
    Row("emoji-64-clip", "score", 32, {"descriptions": [PROMPT]}, ("image",), makes="answers"),
    Row("emoji-64-clip", "caption", 32, {}, ("image",), makes="texts"),
    Row("tools", "score", 16, {}, ("image",), makes="answers"),
)
"""A row for each family with a checkpoint of ours, at least. Those that work on whole data sets have no batches."""


def families(stack: Stack) -> list[Figure]:
    """A row for each that is registered: the worker is held until all its jobs wait, so that batches are full."""
    given = pictures(stack.home)
    with stack.client() as client:
        known = {card["name"]: card["tasks"] for card in client.checkpoints()}
    return [
        figure
        for row in ROWS
        if row.task in known.get(row.checkpoint, ())
        for figure in _measured(stack, row, {name: given[name] for name in row.inputs})
    ]


def _measured(stack: Stack, row: Row, inputs: Mapping[str, Path]) -> list[Figure]:
    """Between two bare loops, since the machine's speed drifts."""
    cache = stack.home / "checkpoints"
    before = _bare(row, inputs, cache)
    seconds, largest = _through_system(stack, row, inputs)
    after = _bare(row, inputs, cache)
    batched, single = ((before[name] + after[name]) / 2 for name in ("batched", "single"))
    name = f"{row.checkpoint}, {row.task}"
    said = f"{row.jobs} jobs, batches of up to {largest}"
    unit = f"{row.makes}/s"
    return [
        Figure(f"{name}: through the system", row.jobs / seconds, unit, 1 / batched, "bare loop", "–", said),
        Figure(f"{name}: bare in batches of {BATCH}", 1 / batched, unit, 1 / single, "one by one", "–"),
    ]


def _bare(row: Row, inputs: Mapping[str, Path], cache: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.bare_family", "--checkpoint", row.checkpoint, "--task", row.task]
    command += ["--jobs", str(row.jobs), "--batch", str(BATCH), "--params", json.dumps(row.params)]
    command += ["--cache", str(cache)]
    for name, path in inputs.items():
        command += ["--input", f"{name}={path}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def _through_system(stack: Stack, row: Row, inputs: Mapping[str, Path]) -> tuple[float, int]:
    """Seconds from the first job's start to the last one's publish, by Postgres' clock; and the largest batch."""
    tag = f"families-{row.checkpoint}-{row.task}"
    with stack.client() as client:
        refs = {name: client.upload(path) for name, path in inputs.items()}

        def submit(tag: str) -> ClientJob:
            return client.submit(row.task, {**row.params, **refs}, checkpoint=row.checkpoint, tag=tag)

        client.wait(submit("warm"))
        with _held_workers(stack):
            jobs = [submit(tag) for _ in range(row.jobs)]
        for job in jobs:
            client.wait(job)
    return time_of(stack.settings, tag)


@contextlib.contextmanager
def _held_workers(stack: Stack) -> Iterator[None]:
    """Stopped for the moment that the jobs are posted in: far shorter than a lease."""
    state = states.load(Layout.at(stack.home))
    assert state is not None
    children = psutil.Process(state.pid).children(recursive=True)
    workers = [child for child in children if "celery" in child.cmdline()]
    assert workers, "no worker was found"
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            worker.resume()


def pictures(folder: Path) -> dict[str, Path]:
    """A picture of 64 pixels with something to see, and a mask of its middle."""
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=(230, 160, 40))
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).rectangle((20, 20, 44, 44), fill=255)
    paths = {"image": folder / "bench-image.png", "mask": folder / "bench-mask.png"}
    image.save(paths["image"])
    mask.save(paths["mask"])
    return paths
