"""The committed DCGAN, StyleGAN2, BigGAN and CycleGAN pair: small, documented, and doing what their cards say."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from worker.nets.cyclegan import CycleGanGenerator
from worker.nets.dcgan import DcganGenerator
from worker.nets.judge import Judge
from worker.nets.stylegan2 import StyleGan2Generator
from worker.training.batches import to_tensor

STARTER = Path(__file__).parents[2] / "worker" / "starter"
MEGABYTE = 1_000_000
WEIGHTS_MEGABYTES = {
    "emoji-dcgan": 2.0,
    "emoji-stylegan2": 3.5,
    "emoji-biggan": 3.0,
    "emoji-flat-to-3d": 1.4,
    "emoji-3d-to-flat": 1.4,
}
TILE = 128
"""Pixels of one picture on the CycleGANs' sheets, which show them twice as large."""


@cache
def stylegan2() -> StyleGan2Generator:
    return StyleGan2Generator.from_pretrained(STARTER / "emoji-stylegan2")


def shown(name: str) -> torch.Tensor:
    """What went into a CycleGAN's sample sheet, ``(24, 3, 64, 64)`` in [-1, 1]: rows 0 and 2 of its twelve columns."""
    with Image.open(STARTER / name / "samples.png") as sheet:
        samples = np.asarray(sheet.convert("RGB"), np.float32)[::2, ::2] / 255
    tiles = samples.reshape(4, TILE // 2, 12, TILE // 2, 3).transpose(0, 2, 1, 3, 4)
    return to_tensor(np.concatenate([tiles[0], tiles[2]]))


@pytest.mark.parametrize("name", sorted(WEIGHTS_MEGABYTES))
def test_each_has_a_card_a_sheet_no_pickle_and_small_weights(name: str) -> None:
    card = (STARTER / name / "README.md").read_text(encoding="utf-8").lower()
    for word in ("licen", "seed", "command", "hardware", "limits", "metrics"):
        assert word in card
    files = [path for path in (STARTER / name).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".md", ".png", ".safetensors"}
    assert (STARTER / name / "model.safetensors").stat().st_size < WEIGHTS_MEGABYTES[name] * MEGABYTE


def test_the_dcgan_draws_many_different_pictures() -> None:
    generator = DcganGenerator.from_pretrained(STARTER / "emoji-dcgan")
    latents = torch.randn(24, generator.config.latent_dim, generator=torch.Generator().manual_seed(3))
    made = generator(latents)
    assert made.shape == (24, 3, 64, 64)
    apart = torch.cdist(made.flatten(1), made.flatten(1)) / made[0].numel() ** 0.5
    assert apart[~torch.eye(24, dtype=torch.bool)].min() > 0.1
    assert made.std(dim=(2, 3)).mean() > 0.1  # there is something on every ground


def test_the_smileys_come_closer_to_the_mean_with_truncation() -> None:
    generator = stylegan2()
    latents = torch.randn(32, generator.config.latent_dim, generator=torch.Generator().manual_seed(3))
    wide, narrow, none = (generator(latents, psi).std(dim=0).mean().item() for psi in (1.0, 0.5, 0.0))
    assert wide > 1.1 * narrow
    assert none < 1e-4
    assert wide > 0.1


def test_late_styles_change_smileys_less_than_early_ones() -> None:
    generator = stylegan2()
    ours, theirs = torch.randn(2, 24, generator.config.latent_dim, generator=torch.Generator().manual_seed(3)).unbind(0)
    plain = generator(ours, 0.8)
    moved = [
        (generator(ours, 0.8, other=theirs, crossover=layer) - plain).abs().mean().item() for layer in (0, 3, 6, 8)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] == 0


@pytest.mark.parametrize("name", ["emoji-flat-to-3d", "emoji-3d-to-flat"])
def test_a_translation_keeps_the_noun_and_the_ground(name: str) -> None:
    generator, judge = (
        CycleGanGenerator.from_pretrained(STARTER / name),
        Judge.from_pretrained(STARTER / "emoji-64-judge"),
    )
    pictures = shown(name)
    made = generator(pictures)
    assert (judge(made)[0].argmax(1) == judge(pictures)[0].argmax(1)).float().mean() > 0.85
    corners = (made - pictures)[:, :, :4, :4].abs().mean()
    assert corners < 0.2
    assert (made - pictures).abs().mean() > 0.02  # and something did change
