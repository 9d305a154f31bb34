"""The text-to-image task: noise levels, what a step changes, and folding the latents' normalisation."""

import pytest
import torch

from worker.training import latents
from worker.training.composites import combinations
from worker.training.export import fold_normalisation
from worker.training.latents import encode
from worker.training.schedule import noisy_times, scheduler
from worker.training.sprites import Sprites
from worker.training.text_to_image import TextToImageSettings, build_unet
from worker.training.vae import VaeSettings, build


def test_noise_levels_cover_the_schedule_and_lean_to_the_noisy_end() -> None:
    times = noisy_times(1000, 1000, 1.0, torch.Generator().manual_seed(0))
    assert times.min() >= 0
    assert times.max() <= 999
    assert abs((times > 800).float().mean() - 0.36) < 0.02
    flat = noisy_times(1000, 1000, 0.0, torch.Generator().manual_seed(0))
    assert abs((flat > 800).float().mean() - 0.2) < 0.02


def test_the_unet_predicts_latents_of_its_input_shape() -> None:
    settings = TextToImageSettings(channels=(32, 64), text_width=32)
    unet = build_unet(settings)
    made = unet(torch.randn(2, 16, 8, 8), torch.tensor([1, 999]), torch.randn(2, 32, 32)).sample
    assert made.shape == (2, 16, 8, 8)


def test_the_schedule_ends_in_pure_noise() -> None:
    alphas = scheduler().alphas_cumprod
    assert alphas[-1] < 1e-4
    assert alphas[0] > 0.999


def test_a_folded_autoencoder_gives_normalised_latents_and_the_same_pictures() -> None:
    torch.manual_seed(0)
    vae = build(VaeSettings()).eval()
    images, mean, std = torch.randn(2, 3, 64, 64), torch.randn(16), torch.rand(16) + 0.5
    with torch.no_grad():
        before = vae.encode(images).latent_dist
        picture = vae.decode(before.mode()).sample
        fold_normalisation(vae, mean, std)
        after = vae.encode(images).latent_dist
        shape = (1, 16, 1, 1)
        assert torch.allclose(after.mode(), (before.mode() - mean.view(shape)) / std.view(shape), atol=1e-4)
        assert torch.allclose(after.std, before.std / std.view(shape), rtol=1e-3)
        assert torch.allclose(vae.decode(after.mode()).sample, picture, atol=1e-3)


def test_cached_latents_are_normalised(sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    few = combinations(held_out=False)[:8]
    monkeypatch.setattr(latents, "combinations", lambda **_: few)
    torch.manual_seed(0)
    cache = encode(build(VaeSettings()), sprites, jitters=2, seed=1)
    assert cache.values.shape == (16, 16, 8, 8)
    assert cache.values.dtype == torch.float16
    assert torch.allclose(cache.values.float().mean(dim=(0, 2, 3)), torch.zeros(16), atol=1e-2)
    assert torch.allclose(cache.values.float().std(dim=(0, 2, 3)), torch.ones(16), atol=1e-2)
