"""Diffusion in pixel space: it learns any pictures, obeys its class, resumes exactly, and its folders load."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DiffusionPipeline, UNet2DModel

from worker.nets.class_diffusion import ClassDiffusion
from worker.training.ddpm import write
from worker.training.diffusion import DiffusionSettings, DiffusionTask, build_unet
from worker.training.loop import Budget, Keeping, Pace, tensors_of, train
from worker.training.muon import Rates

SMALL = DiffusionSettings(batch=16, channels=(16, 32), norm_groups=8, decay=0.9, sheet_steps=4, mirror=False)
NAMES = ("dark", "light")


def shades() -> tuple[torch.Tensor, torch.Tensor]:
    """Plain pictures of two classes: dark ones and light ones, ``(64, 3, 8, 8)``."""
    labels = torch.arange(64) % 2
    return (labels * 1.4 - 0.7)[:, None, None, None].expand(64, 3, 8, 8).clone(), labels


def learner(settings: DiffusionSettings = SMALL) -> DiffusionTask:
    return DiffusionTask(settings, *shades(), NAMES)


def test_it_learns_to_draw_the_class_that_is_asked_for() -> None:
    task = learner(DiffusionSettings(batch=16, channels=(16, 32), decay=0.9, sheet_steps=8, mirror=False))
    losses = [task.train_step(step, 1.0)["loss"] for step in range(80)]
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:3])
    made = task.draw(torch.tensor([0, 1, 0, 1]), seed=0).mean(dim=(1, 2, 3))
    assert (made[0::2] < -0.3).all()
    assert (made[1::2] > 0.3).all()


def test_some_classes_are_withheld_and_the_rest_stay_as_they_are() -> None:
    task = learner()
    index = torch.arange(64).repeat(50)
    told = task.conditions(index, torch.Generator().manual_seed(0))
    assert told is not None
    withheld = told == len(NAMES)
    assert abs(withheld.float().mean() - 0.1) < 0.02
    assert torch.equal(told[~withheld], task.labels[index][~withheld])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = learner()
    train(whole, Budget(steps=2), Pace(), Keeping(tmp_path / "whole", save_seconds=0))
    killed = learner()
    step_once = killed.train_step

    def dies_at_its_second_step(step: int, scale: float) -> dict[str, float]:
        if step == 1:
            raise KeyboardInterrupt
        return step_once(step, scale)

    monkeypatch.setattr(killed, "train_step", dies_at_its_second_step)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    resumed = learner()
    train(resumed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (tmp_path / "whole" / "sheet-000002.png").is_file()


def test_the_class_folder_loads_whole_and_part_by_part(tmp_path: Path) -> None:
    task = learner()
    task.train_step(0, 1.0)
    task.finished().save_pretrained(tmp_path)
    loaded = ClassDiffusion.from_pretrained(tmp_path)
    assert loaded.class_names == NAMES
    assert loaded.none == 2
    assert loaded.scheduler.config.clip_sample
    unet = UNet2DModel.from_pretrained(tmp_path, subfolder="unet")
    noisy, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    with torch.no_grad():
        ours = task.average(noisy, 500, labels).sample
        assert torch.allclose(loaded.unet(noisy, 500, labels).sample, ours, atol=2e-2)
        assert torch.allclose(unet(noisy, 500, labels).sample, ours, atol=2e-2)


def test_guidance_steers_away_from_no_class() -> None:
    task = learner()
    task.train_step(0, 1.0)
    finished = task.finished()
    noisy, labels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    with torch.no_grad():
        told = finished.velocity(noisy, 500, labels, 1.0)
        untold = finished.velocity(noisy, 500, torch.full_like(labels, finished.none), 1.0)
        assert not torch.allclose(told, untold)
        assert torch.allclose(finished.velocity(noisy, 500, labels, 3.0), untold + 3 * (told - untold), atol=1e-5)


def test_without_classes_the_folder_is_a_ddpm_of_diffusers(tmp_path: Path) -> None:
    pictures, _ = shades()
    task = DiffusionTask(SMALL, pictures, None)
    first = [task.train_step(step, 1.0)["loss"] for step in range(20)]
    assert first[-1] < first[0]
    write(tmp_path, task)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    assert isinstance(pipeline, DDPMPipeline)
    pipeline.set_progress_bar_config(disable=True)
    draws = [
        pipeline(2, torch.Generator().manual_seed(3), num_inference_steps=5, output_type="np").images for _ in range(2)
    ]
    assert draws[0].shape == (2, 8, 8, 3)
    assert np.array_equal(*draws)


@pytest.mark.parametrize(
    ("names", "labelled", "message"),
    [
        ((), True, "come together"),
        (NAMES, False, "come together"),
        (("one",), True, "labels from 0 to 1 for 1 class names"),
    ],
)
def test_labels_and_names_must_agree(names: tuple[str, ...], *, labelled: bool, message: str) -> None:
    pictures, labels = shades()
    with pytest.raises(ValueError, match=message):
        DiffusionTask(SMALL, pictures, labels if labelled else None, names)


def test_a_folder_with_other_classes_than_names_is_refused() -> None:
    with pytest.raises(ValueError, match="a UNet of 3 classes for 3 names and none"):
        ClassDiffusion(learner().average, learner().finished().scheduler, ("a", "b", "c"))


def test_a_side_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="30 px cannot be halved 2 times"):
        build_unet(DiffusionSettings(channels=(16, 32, 48)), 30, 3, 0)
    with pytest.raises(ValueError, match="no multiples of 8 groups"):
        DiffusionSettings(channels=(16, 20), rates=Rates(1e-3, 1e-3))
