"""Pictures that the starter draws, so that what looks at pictures has something to see."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from models.checkpoints.card import read_card
from models.params import TASKS
from tests.pipelines.conftest import Recorder
from tests.pipelines.diffusers.led import blob
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import CheckpointFiles, Facts, Item, Picture, Pipeline

STARTERS = Path(__file__).resolve().parents[2] / "worker" / "starter"


def starter(name: str, device: Device) -> Pipeline:
    """One that ships with the product, loaded by its own card."""
    folder = STARTERS / name
    card = read_card(folder)
    return load_family(card.family).setup(CheckpointFiles(name, folder, card.family, card.profile, {}), device)


def draw(pipeline: Pipeline, *prompts: str) -> list[Any]:
    """A picture for each prompt, `(64, 64, 3)` uint8."""
    schema = TASKS["text_to_image"]
    given = {"width": 64, "height": 64, "num_inference_steps": 12, "guidance_scale": 3.0, "seed": 1}
    items = [Item(uuid4(), "text_to_image", schema.model_validate({"prompt": prompt, **given})) for prompt in prompts]
    return [made.pixels for made in pipeline.run(items, Recorder()) if isinstance(made, Picture)]


def seen(task: str, picture: Any, reference: Any = None, **params: Any) -> Item:
    """A job of any task that looks at a picture, and perhaps at another."""
    inputs = {"image": picture} | ({} if reference is None else {"reference": reference})
    refs = {name: {"upload": str(uuid4())} for name in inputs}
    return Item(
        uuid4(), task, TASKS[task].model_validate(refs | params), {name: blob(value) for name, value in inputs.items()}
    )


def facts(pipeline: Pipeline, *items: Item, context: Recorder | None = None) -> list[dict[str, Any]]:
    """What the run says of each item, in their order."""
    context = context or Recorder()
    context.job_ids = {item.job_id for item in items}
    said = {made.job_id: dict(made.data) for made in pipeline.run(items, context) if isinstance(made, Facts)}
    return [said[item.job_id] for item in items if item.job_id in said]
