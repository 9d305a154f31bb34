"""The starter's diffusion through the real worker, courier and services: drawn, chosen, and taken further."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import select

from models.artifacts import Artifact
from models.bootstrap import STARTERS
from models.checkpoints import scan_folder
from models.checkpoints.card import read_folder
from models.checkpoints.shipped import read_starter
from models.jobs import CheckpointCard
from models.session import Sessions
from models.settings import Settings
from models.states import JobState, Pool
from models.storage import Storage
from tests.seeding import Seeder
from worker.media.edges import canny
from worker.process import WorkerProcess

Run = Callable[[], None]
STEPS = 4
WORDS = "a cat on a green background"


@pytest.fixture
def starter(seed: Seeder) -> CheckpointCard:
    """Our own text-to-image checkpoint, and the CLIP that scores it."""
    seed.register(replace(read_starter(STARTERS / "emoji-64-clip")))
    return seed.register(replace(read_starter(STARTERS / "emoji-64")))


@pytest.fixture
def lora(seed: Seeder, tmp_path: Path) -> str:
    """The name of random adapters for the starter."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig, get_peft_model_state_dict

    net = UNet2DConditionModel.from_pretrained(STARTERS / "emoji-64" / "unet", local_files_only=True)
    net.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    generator = torch.Generator().manual_seed(1)
    layers = {
        key: torch.randn(value.shape, generator=generator) for key, value in get_peft_model_state_dict(net).items()
    }
    StableDiffusionPipeline.save_lora_weights(tmp_path / "style", unet_lora_layers=layers)
    files = {"location": str(tmp_path / "style"), "manifest": scan_folder(tmp_path / "style")}
    seed.checkpoint("style", family="lora", tasks=(), **files)
    return "style"


@pytest.fixture
def edges(seed: Seeder, starter: CheckpointCard, tmp_path: Path) -> CheckpointCard:
    """A ControlNet by itself, of random weights, in a folder without a card; as a submit sees it over the starter."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    net = UNet2DConditionModel.from_pretrained(STARTERS / "emoji-64" / "unet", local_files_only=True)
    torch.manual_seed(1)
    control = ControlNetModel.from_unet(net, conditioning_embedding_out_channels=(4, 4, 4, 4))
    for layer in control.controlnet_down_blocks:
        torch.nn.init.normal_(layer.weight, std=0.02)
    control.save_pretrained(tmp_path / "edges")
    card = seed.register(read_folder(tmp_path / "edges", name="edges"))
    return replace(card, profile=card.profile.over(starter.profile))


@pytest.fixture
def made(sessions: Sessions, storage: Storage) -> Callable[..., Any]:
    """One of a job's outputs, as it lies in the bucket."""

    def read(job: UUID, index: int = 0) -> Image.Image:
        with sessions() as session:
            row = session.scalars(select(Artifact).where(Artifact.job_id == job, Artifact.index == index)).one()
        return Image.open(io.BytesIO(storage.get(row.key)))

    return read


@pytest.fixture
def run(settings: Settings, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Everything that waits, until it has ended: a whole worker in this process, its courier in one of its own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # for the courier
    process = WorkerProcess(settings.model_copy(update={"device": "cpu", "lease_seconds": 60.0}), Pool.GPU)
    process.start()

    def work() -> None:
        process.wake()
        assert process.runner.courier.flush(60)

    yield work
    process.close()


@pytest.mark.slow
def test_a_picture_is_chosen_and_taken_further_or_refused_with_its_field(
    run: Run, seed: Seeder, starter: CheckpointCard, lora: str, made: Callable[..., Any]
) -> None:
    client = seed.client()

    def job(task: str, **params: Any) -> UUID:
        return seed.job(client, starter, task=task, params={"seed": 3} | params)

    # given: the best of three, and one with adapters and the same seed
    few: dict[str, Any] = {"prompt": WORDS, "num_inference_steps": STEPS}
    best = job("text_to_image", best_of=3, scorer="emoji-64-clip", **few)
    plain = job("text_to_image", num_images=3, **few)
    styled = job("text_to_image", loras=[{"name": lora}], **few)
    run()
    assert [seed.read(one).state for one in (best, plain, styled)] == [JobState.SUCCEEDED] * 3
    (facts,) = seed.read(best).result["outputs"]
    assert (facts["made"], facts["index"]) == (3, 0)
    assert -1 <= facts["score"] <= 1
    assert np.asarray(made(styled)).tobytes() != np.asarray(made(plain)).tobytes()

    # when: other tasks of the same checkpoint take it as their input
    image, another = {"job": str(best)}, {"job": str(plain), "index": (facts["drawn"] + 1) % 3}
    further = {
        "image_to_image": job("image_to_image", image=image, **few),
        "edit": job("edit", image=image, **few),
        "inpaint": job("inpaint", image=image, mask_automatic="background", **few),
        "outpaint": job("outpaint", image=image, feather=0, **few),
        "style_transfer": job("style_transfer", image=image, prompt="a fox", strength=0.2),
        "reconstruct": job("reconstruct", image=image),
        "interpolate": job("interpolate", images=[image, another], frames=3, there_and_back=False),
    }
    dot = {"shape": "stroke", "points": [[0.5, 0.5]], "width": 0.01}
    empty = job("inpaint", image=image, mask_shapes=[dot], mask_grow=-0.25, **few)
    run()

    # then: each is done, but for the one whose mask shrank to nothing
    states = {task: seed.read(job_id).state for task, job_id in further.items()}
    assert states == dict.fromkeys(further, JobState.SUCCEEDED)
    pictures = {task: np.asarray(made(job_id).convert("RGB")) for task, job_id in further.items()}
    assert {pixels.shape for pixels in pictures.values()} == {(64, 64, 3)}
    given = np.asarray(made(best))
    small = np.asarray(Image.fromarray(given).resize((32, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(pictures["outpaint"][16:48, 16:48], small)
    assert seed.read(further["reconstruct"]).result["psnr_db"] > 20
    walked = made(further["interpolate"])
    assert (walked.format, walked.n_frames) == ("GIF", 3)
    refused = seed.read(empty)
    assert (refused.state, refused.error_code) == (JobState.FAILED, "invalid_input")
    assert "covers nothing" in str(refused.error_detail)


@pytest.mark.slow
def test_a_controlnet_by_itself_runs_over_the_starter(
    run: Run, seed: Seeder, starter: CheckpointCard, edges: CheckpointCard, made: Callable[..., Any]
) -> None:
    client = seed.client()
    few: dict[str, Any] = {"prompt": WORDS, "num_inference_steps": STEPS, "seed": 3}

    def job(**params: Any) -> UUID:
        return seed.job(client, edges, task="control", params={**few, "image": {"job": str(drawn)}, **params})

    # given: a picture, its edges, and the same without a lead; and a base that is no base, or not there any more
    drawn = seed.job(client, starter, params=few)
    run()
    led = job(base="emoji-64", base_revision=starter.revision, return_map=True)
    alone = job(base="emoji-64", control_scale=0)
    wrong, gone = job(base="emoji-64-clip"), job(base="emoji-64", base_revision="0" * 64)
    run()

    # then: the map counts, and without it the base draws what it always does
    assert [seed.read(one).state for one in (drawn, led, alone)] == [JobState.SUCCEEDED] * 3
    assert np.array_equal(np.asarray(made(led, 1)), canny(np.asarray(made(drawn))))
    pictures = [np.asarray(made(one)).astype(int) for one in (drawn, led, alone)]
    assert np.abs(pictures[2] - pictures[0]).max() <= 2
    assert np.abs(pictures[1] - pictures[0]).max() > 2
    for one in (wrong, gone):
        failed = seed.read(one)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "checkpoint_unavailable")
        assert "is to run over 'emoji-64" in str(failed.error_detail)
