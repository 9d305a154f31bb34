"""The diffusion transformer: it begins as nothing, learns its classes, and diffusers' own pipeline loads the folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline

from worker.training.dit import AUTOENCODER, NONE, DitSettings, DitTask, PictureBatches, build, decoder_of, encoded
from worker.training.dit_folder import write
from worker.training.loop import tensors_of
from worker.training.schedule import scheduler
from worker.training.vae import VaeTask

SMALL = DitSettings(batch=16, heads=2, head_dim=16, layers=2, decay=0.9, sheet_steps=8)
SMALL_AUTOENCODER = replace(AUTOENCODER, batch=2, side=16, channels=(8, 8, 8))
NAMES = ("dark", "light")


def shades() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(64) % 2
    return (labels * 2.0 - 1)[:, None, None, None].expand(64, 4, 4, 4).clone(), labels


def learner() -> DitTask:
    return DitTask(SMALL, *shades(), NAMES, lambda latents: latents[:, :3])


def test_the_transformer_begins_with_no_prediction() -> None:
    model = build(SMALL, 4, 4, 2)
    told = model(torch.randn(2, 4, 4, 4), timestep=torch.tensor([10, 900]), class_labels=torch.tensor([0, NONE])).sample
    assert told.shape == (2, 4, 4, 4)
    assert told.abs().max() == 0


def test_it_learns_to_draw_the_class_that_is_asked_for() -> None:
    task = learner()
    losses = [task.train_step(step, 1.0)["loss"] for step in range(120)]
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:3])
    made = task.draw(torch.tensor([0, 1, 0, 1]), seed=0).mean(dim=(1, 2, 3))
    assert (made[0::2] < -0.4).all()
    assert (made[1::2] > 0.4).all()


def test_a_step_depends_on_nothing_but_its_number() -> None:
    left, right = learner(), learner()
    for step in range(2):
        left.train_step(step, 1.0)
        torch.manual_seed(step)  # whatever the process drew meanwhile
        right.train_step(step, 1.0)
    ours, theirs = tensors_of(left), tensors_of(right)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_folder_is_a_pipeline_of_diffusers_that_knows_its_classes(tmp_path: Path) -> None:
    pictures = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batches = PictureBatches(pictures, 2, 1)
    autoencoder = VaeTask(SMALL_AUTOENCODER, batches, batches)
    losses = [autoencoder.train_step(step, 1.0)["loss"] for step in range(15)]
    assert losses[-1] < losses[0]
    vae = autoencoder.average.eval()
    latents = encoded(vae, pictures)
    assert latents.shape == (8, 4, 4, 4)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-2)
    task = DitTask(SMALL, latents, torch.arange(8) % 2, NAMES, decoder_of(vae))
    task.train_step(0, 1.0)
    write(tmp_path, DiTPipeline(task.average, vae, scheduler()), NAMES)

    pipeline = DiTPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.get_label_ids(["light", "dark"]) == [1, 0]
    made = pipeline([1, 0], generator=torch.Generator().manual_seed(0), num_inference_steps=3, output_type="np").images
    assert made.shape == (2, 16, 16, 3)
    with torch.no_grad():
        noisy, times, labels = torch.randn(2, 4, 4, 4), torch.tensor([100, 900]), torch.tensor([1, NONE])
        ours = task.average(noisy, timestep=times, class_labels=labels).sample
        theirs = pipeline.transformer(noisy, timestep=times, class_labels=labels).sample
        assert torch.allclose(ours, theirs, atol=1e-2)


def test_more_classes_than_the_pipeline_has_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="1001 classes"):
        build(SMALL, 4, 4, 1001)
