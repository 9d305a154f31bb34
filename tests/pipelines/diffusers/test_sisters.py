"""Which tasks a folder does: what the worker reads off the class is what its name promised at registration."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.checkpoints.diffusers_classes import tasks_of_class
from tests.pipelines.conftest import Folders, Load, open_checkpoint, run
from tests.pipelines.diffusers.led import led, picture
from tests.pipelines.diffusers.test_other_classes import chroma, consistency, pixart
from tests.pipelines.tiny import MAKERS
from tests.pipelines.tiny_led import MAKERS as LED_BY_PICTURES
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.diffusers.loading import _loader, modules_of
from worker.pipelines.diffusers.sisters import tasks_of

# diffusers' own ControlNet of Flux uses it
pytestmark = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")
FOLDERS = [name for name in (*MAKERS, *LED_BY_PICTURES) if name != "gan"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_table_by_name_and_the_loaded_class_agree(load: Load, folder: str) -> None:
    pipeline = load(folder)
    sisters = pipeline._denoiser.sisters  # type: ignore[attr-defined]
    assert sisters.tasks == set(tasks_of_class(type(sisters.main.pipe).__name__))
    assert sisters.tasks <= load_family("diffusers").tasks


def test_no_name_promises_what_its_class_does_not_do() -> None:
    """Of every class that diffusers sorts by what it starts from, without a folder: a name alone must be enough."""
    import diffusers
    from diffusers.pipelines import auto_pipeline as auto

    text, *others = (
        getattr(auto, f"AUTO_{kind}_PIPELINES_MAPPING") for kind in ("TEXT2IMAGE", "IMAGE2IMAGE", "INPAINT")
    )
    broken = {}
    for name in sorted({known.__name__ for table in (text, *others) for known in table.values()}):
        by_words = _loader(name) is diffusers.AutoPipelineForText2Image
        loaded = auto._get_task_class(text, name) if by_words else getattr(diffusers, name)
        does = tasks_of(object.__new__(loaded))
        of_its_nets = {"reconstruct", "interpolate"} | ({"inpaint", "outpaint"} if "image_to_image" in does else set())
        if missing := set(tasks_of_class(name)) - does - of_its_nets:
            broken[name] = missing
    assert broken == {}


@pytest.mark.parametrize("make", [pixart, consistency, chroma])
def test_other_classes_do_at_least_what_the_table_says(
    make: Callable[[Path], None], tmp_path: Path, cpu: Device
) -> None:
    torch.manual_seed(7)
    make(tmp_path)
    pipeline = open_checkpoint(make.__name__, tmp_path, cpu)
    sisters = pipeline._denoiser.sisters  # type: ignore[attr-defined]
    promised = set(tasks_of_class(type(sisters.main.pipe).__name__))
    assert promised <= sisters.tasks
    jobs = {
        "image_to_image": led("image_to_image", {"image": picture()}, prompt="a cat"),
        "inpaint": led("inpaint", {"image": picture()}, prompt="a cat", mask_shapes=[HALF]),
        "reconstruct": led("reconstruct", {"image": picture()}),
    }
    for task in promised & set(jobs):
        assert run(pipeline, jobs[task])[0].pixels.shape == (32, 32, 3)


HALF = {"shape": "rectangle", "left": 0.5, "top": 0, "right": 1, "bottom": 1}


def test_all_tasks_of_a_checkpoint_take_turns_on_the_same_nets(folders: Folders, cpu: Device) -> None:
    """Out of memory on one task makes all of them slimmer, and none loads a second copy."""
    pipeline = open_checkpoint("sd1", folders("sd1"), cpu)
    jobs = [
        led("image_to_image", {"image": picture()}, prompt="a cat", num_images=2),
        led("inpaint", {"image": picture()}, prompt="a cat", mask_shapes=[HALF], num_images=2),
        led("style_transfer", {"image": picture()}, prompt="a cat"),
        led("reconstruct", {"image": picture()}),
    ]
    before = [run(pipeline, job)[0].pixels for job in jobs]
    nets = {id(net) for net in modules_of(pipeline._pipe).values()}  # type: ignore[attr-defined]
    while pipeline.slim():
        after = [run(pipeline, job)[0].pixels.astype(int) for job in jobs]
        assert all(abs(a - b).max() <= 2 for a, b in zip(after, before, strict=True))
    for task in ("text_to_image", "image_to_image", "inpaint", "outpaint", "reconstruct"):
        sister = pipeline._denoiser.sisters.for_task(task)  # type: ignore[attr-defined]
        assert {id(net) for net in modules_of(sister.pipe).values()} == nets
