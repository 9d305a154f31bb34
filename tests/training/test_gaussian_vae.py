"""The VAE's training: it learns pictures, uses its latents, and resumes exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worker.nets.vae import GaussianVae
from worker.training.gaussian_vae import GaussianVaeSettings, GaussianVaeTask
from worker.training.loop import Budget, Keeping, Pace, tensors_of, train
from worker.training.muon import Rates
from worker.training.vae import psnr

SMALL = GaussianVaeSettings(
    rates=Rates(muon=1e-2, adamw=1e-2),
    batch=16,
    latent_dim=8,
    encoder_widths=(8, 16),
    decoder_widths=(16, 16, 8),
    kl_weight=1e-3,
    kl_warmup_steps=50,
    decay=0.9,
)


def discs(count: int = 32) -> torch.Tensor:
    """Discs of one colour on another: ``(count, 3, 16, 16)`` in [-1, 1]."""
    stream = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    near = (rows - 7.5) ** 2 + (columns - 7.5) ** 2 < 30
    inner, outer = (torch.rand(2, count, 3, 1, 1, generator=stream) * 1.8 - 0.9).unbind(0)
    return torch.where(near, inner, outer)


def test_it_learns_to_reconstruct_and_its_latents_carry_the_picture() -> None:
    pictures = discs()
    task = GaussianVaeTask(SMALL, pictures)
    with torch.no_grad():
        before = psnr(task.vae.reconstruct(pictures), pictures).mean()
    for step in range(120):
        task.train_step(step, 1.0)
    with torch.no_grad():
        right = psnr(task.average.reconstruct(pictures), pictures).mean()
        mixed = psnr(task.average.decode(task.average.encode(pictures)[0].roll(1, 0)), pictures).mean()
    assert right > before + 4, (before, right, mixed)
    assert right > mixed + 4, (before, right, mixed)


def test_the_kl_term_draws_the_latents_towards_the_prior() -> None:
    from dataclasses import replace

    ends = []
    for weight in (0.0, 0.5):
        task = GaussianVaeTask(replace(SMALL, kl_weight=weight, kl_warmup_steps=1), discs())
        ends.append(np.mean([task.train_step(step, 1.0)["kl"] for step in range(60)][-10:]))
    assert ends[1] < 0.2 * ends[0]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = GaussianVaeTask(SMALL, discs())
    train(whole, Budget(steps=2), Pace(), Keeping(tmp_path / "whole", save_seconds=0))
    killed = GaussianVaeTask(SMALL, discs())
    step_once = killed.train_step

    def dies_at_its_second_step(step: int, scale: float) -> dict[str, float]:
        if step == 1:
            raise KeyboardInterrupt
        return step_once(step, scale)

    monkeypatch.setattr(killed, "train_step", dies_at_its_second_step)
    with pytest.raises(KeyboardInterrupt):
        train(killed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    resumed = GaussianVaeTask(SMALL, discs())
    train(resumed, Budget(steps=2), Pace(), Keeping(tmp_path / "killed", save_seconds=0))
    ours, theirs = tensors_of(whole), tensors_of(resumed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_was_trained_can_be_kept(tmp_path: Path) -> None:
    task = GaussianVaeTask(SMALL, discs())
    task.train_step(0, 1.0)
    task.average.save_pretrained(tmp_path)
    loaded = GaussianVae.from_pretrained(tmp_path)
    latents = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.allclose(loaded.decode(latents), task.average.decode(latents), atol=1e-2)
