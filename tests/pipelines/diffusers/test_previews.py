"""Rough pictures from latents: fitted to the decoder, read from the folder, or none."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.conftest import Load
from worker.pipelines.diffusers.previews import FACTORS_FILE, LatentPreviewer

SIZE = (16, 16)


class LinearDecoder:
    """Stands for an autoencoder: a known matrix, and four pixels to a latent."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(4, 3, generator=generator) * 0.2
        self.bias = torch.tensor([0.1, -0.2, 0.3])
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.config = type("Config", (), {"scaling_factor": 0.5, "shift_factor": 0.25})()

    def decode(self, latents: Any, *, return_dict: bool) -> tuple[Any]:
        assert not return_dict
        scaled = (latents - 0.25) * 0.5
        rgb = torch.einsum("bchw,cr->brhw", scaled, self.matrix) + self.bias[:, None, None]
        return (rgb.repeat_interleave(2, 2).repeat_interleave(2, 3),)


class Pipe:
    def __init__(self) -> None:
        self.vae = LinearDecoder()


def test_the_fit_finds_a_linear_decoder(tmp_path: Path) -> None:
    pipe = Pipe()
    previewer = LatentPreviewer(pipe, tmp_path)
    latents = torch.randn(3, 4, 20, 20, generator=torch.Generator().manual_seed(1)) * 0.5
    shown = previewer(latents, [0, 2], SIZE)
    assert shown is not None
    assert shown.shape == (2, 20, 20, 3)
    exact = torch.einsum("bchw,cr->bhwr", latents[[0, 2]], pipe.vae.matrix) + pipe.vae.bias
    exact = ((exact / 2 + 0.5).clamp(0, 1) * 255).round()
    assert (torch.from_numpy(shown).float() - exact).abs().max() <= 2


def test_factors_in_the_folder_come_first(tmp_path: Path) -> None:
    factors = {"weight": [[0, 0, 0]] * 4, "bias": [1, -1, 0]}
    (tmp_path / FACTORS_FILE).write_text(json.dumps(factors))
    shown = LatentPreviewer(Pipe(), tmp_path)(torch.randn(1, 4, 20, 20), [0], SIZE)
    assert shown is not None
    assert shown[0, 0, 0].tolist() == [255, 0, 128]


@pytest.mark.parametrize("content", ["{}", "no json", '{"weight": [[1, 1, 1]], "bias": [0, 0, 0]}'])
def test_bad_factors_cost_the_preview_and_not_the_job(tmp_path: Path, content: str) -> None:
    (tmp_path / FACTORS_FILE).write_text(content)
    assert LatentPreviewer(Pipe(), tmp_path)(torch.randn(1, 4, 20, 20), [0], SIZE) is None


def test_a_decoder_that_overflows_costs_the_preview_and_not_the_job(tmp_path: Path) -> None:
    pipe = Pipe()
    pipe.vae.bias = torch.tensor([float("nan")] * 3)
    assert LatentPreviewer(pipe, tmp_path)(torch.randn(1, 4, 20, 20), [0], SIZE) is None


def test_latents_with_a_time_axis_have_no_preview(tmp_path: Path) -> None:
    assert LatentPreviewer(Pipe(), tmp_path)(torch.randn(1, 4, 1, 2, 2), [0], SIZE) is None


def test_latents_in_sigmas_are_brought_to_unit_variance(tmp_path: Path) -> None:
    previewer = LatentPreviewer(Pipe(), tmp_path)
    latents = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    latents = latents / latents.std()
    assert (previewer(latents * 14, [0], SIZE) == previewer(latents, [0], SIZE)).mean() > 0.99


def test_the_fit_follows_a_real_decoder_of_packed_latents(load: Load) -> None:
    pipeline: Any = load("flux")
    packed = torch.randn(2, 256, 16, generator=torch.Generator().manual_seed(1))
    shown = pipeline._denoiser.previewer(packed, [1], (64, 64))
    assert shown.shape == (1, 32, 32, 3)


def test_few_latents_are_decoded(tmp_path: Path) -> None:
    shown = LatentPreviewer(Pipe(), tmp_path)(torch.randn(2, 4, 8, 8), [1], SIZE)
    assert shown is not None
    assert shown.shape == (1, 16, 16, 3)
