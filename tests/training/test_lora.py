"""Adapters of the text-to-image starter: they learn a new subject, only they do, and diffusers reads their file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor

from tests.elsewhere import ELSEWHERE, Elsewhere
from worker.nets.folders import FolderError
from worker.training.batches import to_tensor
from worker.training.loop import Budget, Keeping, Pace, tensors_of, train
from worker.training.lora import LoraSettings, LoraTask, target_of

STARTER = Path(__file__).parents[2] / "worker" / "starter" / "emoji-64"
CAPTION = "a zorb on white"


@pytest.fixture(scope="module")
def zorb() -> Tensor:
    """One picture of something that the starter has never seen: a chequered disc, ``(1, 3, 64, 64)``."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    disc = (rows**2 + columns**2 < 24**2)[..., None]
    chequer = ((rows // 8 + columns // 8) % 2 > 0)[..., None]
    coloured = np.where(chequer, [1.0, 0.0, 1.0], [0.0, 0.9, 0.6])
    return to_tensor(np.where(disc, coloured, 1.0)[None].astype(np.float32))


def task(zorb: Tensor, settings: LoraSettings) -> LoraTask:
    return LoraTask(settings, STARTER, zorb, [CAPTION])


@torch.no_grad()
def error(trained: LoraTask) -> float:
    """The loss on the subject at fixed noise."""
    return trained.loss(torch.zeros(8, dtype=torch.long), [CAPTION] * 8, torch.Generator().manual_seed(0)).item()


def test_a_few_steps_on_a_new_subject_lower_its_loss_and_diffusers_reads_the_file(zorb: Tensor, tmp_path: Path) -> None:
    learner = task(zorb, LoraSettings(batch=4, rate=4e-3, text_encoder=True))
    before = error(learner)
    for step in range(10):
        learner.train_step(step, 1.0)
    assert error(learner) < 0.8 * before
    learner.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_lora_weights.safetensors"]

    pipeline = StableDiffusionPipeline.from_pretrained(STARTER)
    tokens = torch.tensor(pipeline.tokenizer([CAPTION], padding="max_length").input_ids)
    noisy, time = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([600])
    with torch.no_grad():
        plain = pipeline.unet(noisy, time, pipeline.text_encoder(tokens).last_hidden_state).sample
        pipeline.load_lora_weights(tmp_path)
        adapted = pipeline.unet(noisy, time, pipeline.text_encoder(tokens).last_hidden_state).sample
        ours = learner.pipeline.unet(noisy, time, learner.context([CAPTION])).sample
    assert torch.allclose(adapted, ours, atol=5e-3)
    assert (adapted - plain).abs().max() > 10 * (adapted - ours).abs().max()


def test_on_another_device_it_learns_the_same_and_its_file_comes_back(
    zorb: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LoraSettings(batch=2, text_encoder=True, sheet_steps=1)
    with Elsewhere(monkeypatch) as elsewhere:
        learner = LoraTask(settings, STARTER, zorb, [CAPTION], ELSEWHERE)
        before = elsewhere.waits
        figures = learner.train_step(0, 1.0)
        assert elsewhere.waits - before == 1
        assert elsewhere.autocasts == {ELSEWHERE.type}
        assert figures == pytest.approx(task(zorb, settings).train_step(0, 1.0), rel=0.01)
        assert learner.sheet().size == (12 * 64 * 2, 64 * 2)
        learner.save(tmp_path)
    assert all(value.isfinite().all() for value in load_file(tmp_path / "pytorch_lora_weights.safetensors").values())


def test_only_the_adapters_learn(zorb: Tensor) -> None:
    learner = task(zorb, LoraSettings(batch=2))
    before = {name: value.clone() for name, value in learner.pipeline.unet.state_dict().items()}
    learner.train_step(0, 1.0)
    after = learner.pipeline.unet.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


def test_a_resumed_run_equals_an_uninterrupted_one_and_its_state_holds_the_adapters_alone(
    zorb: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, pace = LoraSettings(batch=2, sheet_steps=1), Pace(warmup_steps=1)
    whole = task(zorb, settings)
    train(whole, Budget(steps=2), pace, Keeping(tmp_path / "whole", save_seconds=0))

    killed = task(zorb, settings)
    step_once = killed.train_step

    def dies_at_its_second_step(step: int, scale: float) -> dict[str, float]:
        if step == 1:
            raise KeyboardInterrupt
        return step_once(step, scale)

    monkeypatch.setattr(killed, "train_step", dies_at_its_second_step)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Budget(steps=2), pace, Keeping(tmp_path / "killed", save_seconds=0))
    resumed = task(zorb, settings)
    train(resumed, Budget(steps=2), pace, Keeping(tmp_path / "killed", save_seconds=0))

    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    checkpoint_bytes = sum(path.stat().st_size for path in (STARTER / "unet").iterdir())
    assert (tmp_path / "whole" / "state.safetensors").stat().st_size < checkpoint_bytes / 10


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_what_the_scheduler_asks_for(kind: str) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(prediction_type=kind, clip_sample=False)
    stream = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 4, 1, 1, generator=stream), torch.randn(2, 4, 1, 1, generator=stream)
    times = torch.tensor([500, 500])
    noisy = scheduler.add_noise(clean, noise, times)
    # A model that predicts the target exactly leads straight back to the clean latents.
    told = scheduler.step(target_of(scheduler, clean, noise, times), 500, noisy).pred_original_sample
    assert torch.allclose(told, clean, atol=1e-4)


def test_a_folder_of_another_kind_is_refused(zorb: Tensor, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "DiTPipeline"}')
    with pytest.raises(FolderError, match="holds a DiTPipeline"):
        LoraTask(LoraSettings(), tmp_path, zorb, [CAPTION])
    with pytest.raises(FolderError, match="cannot be read"):
        LoraTask(LoraSettings(), tmp_path / "nothing", zorb, [CAPTION])


def test_each_picture_needs_its_caption(zorb: Tensor) -> None:
    with pytest.raises(ValueError, match="2 captions for 1 pictures"):
        LoraTask(LoraSettings(), STARTER, zorb, [CAPTION, CAPTION])
