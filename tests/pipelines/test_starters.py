"""Every committed starter of these families does each of its tasks, as its card has it; new cards are found."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.bootstrap import STARTERS
from models.checkpoints.shipped import read_starter
from models.packages import root_of
from models.params import CheckpointProfile
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import ANYWHERE, encoded
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Facts, File, Item, Picture, Pipeline

FAMILIES = {
    "biggan",
    "class_diffusion",
    "conditional_gan",
    "cyclegan",
    "dcgan",
    "ddpm",
    "dit",
    "real_esrgan",
    "style_transfer",
    "stylegan2",
    "swin2sr",
    "vae",
}
CARDS = {path.parent.name: json.loads(path.read_text()) for path in sorted(STARTERS.glob("*/safelight.json"))}
MINE = [(name, task) for name, card in CARDS.items() if card["family"] in FAMILIES for task in card["tasks"]]
LEAST_SPREAD = 10
"""Levels: a net that has fallen to one colour shows less."""


def opened(name: str, device: Device) -> tuple[Pipeline, CheckpointProfile]:
    found = read_starter(STARTERS / name)
    folder, package = STARTERS / name, CARDS[name].get("package")
    if package:
        folder = root_of(package["distribution"], package["version"])
    files = CheckpointFiles(name, folder, found.family, found.profile, {"files": sorted(found.manifest.files)})
    return load_family(found.family).setup(files, device), found.profile


def a_picture(side: int) -> Any:
    """A tile of the starter's own sample sheet: a drawing, as all of these know it."""
    with Image.open(STARTERS / "emoji-64" / "samples.png") as sheet:
        return np.asarray(sheet.convert("RGB").crop((0, 0, 128, 128)).resize((side, side)))


def job_of(task: str, profile: CheckpointProfile) -> Item:
    """A small job of the task, as a client might send it."""
    from uuid import uuid4

    from models.params import TASKS

    blob, ref = Blob(encoded(a_picture(32)), "image/png"), {"upload": ANYWHERE}
    label: dict[str, Any] = {"class_label": profile.class_names[-1]} if profile.class_names else {}
    style = {"style": profile.style_names[0]} if profile.style_names else {}
    params: dict[str, dict[str, Any]] = {
        "class_to_image": {**label, "num_images": 2},
        "interpolate": {**label, "seeds": [1, 2], "frames": 3, "num_inference_steps": min(5, profile.default_steps)},
        "reconstruct": {"image": ref},
        "sample": {"num_images": 2, "num_inference_steps": min(25, profile.default_steps)},
        "style_transfer": {"image": ref, **style},
        "translate": {"image": ref, "size": 64},
        "upscale": {"image": ref, "scale": 2},
    }
    given = TASKS[task].model_validate({"seed": 1, **params[task]}).resolved(profile)
    return Item(uuid4(), task, given, dict.fromkeys(given.inputs(), blob))


@pytest.mark.parametrize(("name", "task"), MINE)
def test_it_does_its_task(name: str, task: str, cpu: Device) -> None:
    pipeline, profile = opened(name, cpu)
    item, context = job_of(task, profile), Recorder()
    outputs = run(pipeline, item, context=context)
    pictures = [output for output in outputs if isinstance(output, Picture)]
    assert all(picture.pixels.std() > LEAST_SPREAD for picture in pictures)
    if task in {"class_to_image", "sample"}:
        size = (profile.default_height, profile.default_width, 3)
        assert [picture.pixels.shape for picture in pictures] == [size] * 2
        assert not np.array_equal(pictures[0].pixels, pictures[1].pixels)
        assert context.steps[-1] == (item.params.steps(), item.params.steps())
    elif task == "interpolate":
        (file,) = (output for output in outputs if isinstance(output, File))
        assert file.size == (profile.default_width, profile.default_height)
    elif task == "reconstruct":
        assert isinstance(outputs[-1], Facts)
        assert outputs[-1].data["psnr_db"] > 8
    else:
        sides = {"upscale": 64, "translate": 64, "style_transfer": 32}
        assert pictures[0].pixels.shape == (sides[task], sides[task], 3)


@pytest.mark.parametrize("name", sorted({name for name, _ in MINE}))
def test_its_card_promises_what_the_family_keeps(name: str) -> None:
    card, profile = CARDS[name], CheckpointProfile(**CARDS[name]["profile"])
    assert card["name"] == name
    assert set(card["tasks"]) <= load_family(card["family"]).tasks
    assert not profile.reads_prompt
    if "class_to_image" in card["tasks"] or "sample" in card["tasks"]:
        assert profile.fixed_size
    if "class_to_image" in card["tasks"]:
        assert profile.class_names
    if "upscale" in card["tasks"]:
        assert profile.scales
