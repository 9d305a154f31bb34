"""The VAE: shapes, what interpolation passes through, and the folders that it refuses."""

import json
from pathlib import Path

import pytest
import torch

from worker.nets.folders import FolderError
from worker.nets.vae import GaussianVae, VaeConfig, interpolated

SMALL = VaeConfig(image_size=16, latent_dim=6, encoder_widths=(8, 16), decoder_widths=(16, 8, 8))


def test_latents_and_pictures_have_the_shapes_of_the_config() -> None:
    vae, pictures = GaussianVae(SMALL), torch.rand(3, 3, 16, 16) * 2 - 1
    mean, log_variance = vae.encode(pictures)
    assert mean.shape == log_variance.shape == (3, 6)
    made = vae.decode(torch.randn(3, 6) * 100)
    assert made.shape == pictures.shape
    assert made.abs().max() <= 1
    assert torch.equal(vae.reconstruct(pictures), vae.decode(mean))


def test_a_saved_vae_is_the_same_when_loaded(tmp_path: Path) -> None:
    vae = GaussianVae(SMALL)
    vae.save_pretrained(tmp_path)
    loaded, latents = GaussianVae.from_pretrained(tmp_path), torch.randn(2, 6)
    assert loaded.config == SMALL
    assert torch.allclose(loaded.decode(latents), vae.decode(latents), atol=1e-2)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "Generator"}, "holds a Generator"),
        ({"latent_dim": 7}, "of another shape"),
        ({"image_size": 32}, "do not lead from 32 px to 4 px"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    GaussianVae(SMALL).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(FolderError, match=message):
        GaussianVae.from_pretrained(tmp_path)


def test_interpolation_keeps_to_the_sphere_and_meets_both_ends() -> None:
    stream = torch.Generator().manual_seed(0)
    start, end = torch.randn(512, generator=stream), torch.randn(512, generator=stream)
    way = interpolated(start, end, torch.linspace(0, 1, 5))
    assert torch.allclose(way[0], start, atol=1e-3)
    assert torch.allclose(way[-1], end, atol=1e-3)
    lengths = way.norm(dim=1)
    assert lengths.min() > 0.99 * min(start.norm(), end.norm())
    assert torch.lerp(start, end, 0.5).norm() < 0.8 * lengths[2]
    assert torch.allclose(way[2] @ start / start.norm(), way[2] @ end / end.norm(), atol=1.0)


def test_interpolation_between_one_and_the_same_stays_there() -> None:
    here = torch.randn(16, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(interpolated(here, here, torch.tensor([0.0, 0.3, 1.0])), here.expand(3, 16), atol=1e-5)
