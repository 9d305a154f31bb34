"""StyleGAN2: truncation, style mixing, seeded noise, demodulation, and a round trip through a folder."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from worker.nets.folders import FolderError
from worker.nets.stylegan2 import ModulatedConv, StyleGan2Config, StyleGan2Generator
from worker.nets.stylegan2_discriminator import StyleGan2Discriminator, minibatch_deviation

CONFIG = StyleGan2Config(latent_dim=8, style_dim=8, mapping_layers=2, image_size=16, widths=(12, 8, 6))


@pytest.fixture(scope="module")
def generator() -> StyleGan2Generator:
    """A small one with random weights, whose mean style is measured and whose noise is audible."""
    torch.manual_seed(0)
    net = StyleGan2Generator(CONFIG).eval().requires_grad_(requires_grad=False)
    net.w_mean.copy_(net.map_latents(torch.randn(500, 8)).mean(dim=0))
    for name, parameter in net.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    return net


def test_shapes_and_range(generator: StyleGan2Generator) -> None:
    pictures = generator(torch.randn(4, 8))
    assert pictures.shape == (4, 3, 16, 16)
    assert pictures.abs().max() <= 1
    assert generator.config.num_styles == 6
    assert StyleGan2Discriminator(3, (6, 8, 12))(pictures).shape == (4,)


def test_truncation_draws_pictures_together(generator: StyleGan2Generator) -> None:
    latents = torch.randn(64, 8)
    spreads = [generator(latents, psi).std(dim=0).mean().item() for psi in (1.0, 0.5, 0.0)]
    assert spreads[0] > 1.2 * spreads[1] > 0
    assert spreads[2] == pytest.approx(0, abs=1e-5)


def test_each_picture_may_have_its_own_truncation(generator: StyleGan2Generator) -> None:
    latents = torch.randn(2, 8)
    both = generator(latents, torch.tensor([0.4, 1.0]))
    assert torch.allclose(both[:1], generator(latents[:1], 0.4), atol=1e-5)
    assert torch.allclose(both[1:], generator(latents[1:]), atol=1e-5)


def test_mixing_leaves_the_coarse_styles_alone(generator: StyleGan2Generator) -> None:
    ours, theirs = torch.randn(2, 1, 8).unbind(0)
    mixed = generator.styles_of(ours, other=theirs, crossover=4)
    assert torch.equal(mixed[:, :4], generator.styles_of(ours)[:, :4])
    assert torch.equal(mixed[:, 4:], generator.styles_of(theirs)[:, 4:])
    assert torch.equal(generator(ours, other=theirs, crossover=6), generator(ours))
    assert torch.equal(generator(ours, other=theirs, crossover=0), generator(theirs))


def test_a_late_crossover_changes_no_early_features(generator: StyleGan2Generator) -> None:
    seen: list[list[torch.Tensor]] = [[], []]
    ours, theirs = torch.randn(2, 1, 8).unbind(0)
    for index, other in enumerate((None, theirs)):
        hooks = [
            layer.register_forward_hook(lambda _, __, made, at=index: seen[at].append(made))
            for layer in generator.layers
        ]
        generator(ours, other=other, crossover=None if other is None else 3)
        for hook in hooks:
            hook.remove()
    unchanged = [torch.equal(plain, mixed) for plain, mixed in zip(*seen, strict=True)]
    assert unchanged == [True, True, True, False, False]


def test_mixing_asks_for_both_or_neither(generator: StyleGan2Generator) -> None:
    latents = torch.randn(1, 8)
    for other, crossover in ((None, 2), (latents, None), (latents, 7), (latents, -1)):
        with pytest.raises(ValueError, match="crossover"):
            generator(latents, other=other, crossover=crossover)


def test_noise_follows_its_own_seed_and_no_neighbour(generator: StyleGan2Generator) -> None:
    def noise(*seeds: int) -> list[torch.Tensor]:
        return generator.noise_inputs([torch.Generator().manual_seed(seed) for seed in seeds])

    latents = torch.randn(1, 8)
    one, again, other = (generator(latents, noise=noise(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, generator(latents))
    together = generator(latents.expand(2, -1), noise=noise(2, 1))
    assert torch.allclose(together[1:], one, atol=1e-5)


def test_modulated_features_equal_modulated_weights() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(5, 4, 3, style_dim=6)
    features, style = torch.randn(1, 5, 8, 8), torch.randn(1, 6)
    scale = conv.affine(style)[0]
    weight = conv.conv.scaled_weight() * scale[None, :, None, None]
    weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    assert torch.allclose(conv(features, style), nn.functional.conv2d(features, weight, padding=1), atol=1e-5)


def test_the_minibatch_deviation_sees_copies() -> None:
    one = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert minibatch_deviation(one.expand(4, -1, -1, -1)).max() < 1e-3
    assert minibatch_deviation(torch.cat([one, -one, 2 * one, -2 * one])).min() > 0.1


def test_a_saved_generator_comes_back(generator: StyleGan2Generator, tmp_path: Path) -> None:
    generator.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = StyleGan2Generator.from_pretrained(tmp_path)
    latents = torch.randn(2, 8)
    assert loaded.config == CONFIG
    assert torch.equal(loaded(latents, 0.5), generator(latents, 0.5))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"image_size": 32}, "do not grow"), ({"style_dim": 4}, "another shape"), ({"depth": 3}, "depth")],
)
def test_a_config_that_does_not_fit_is_refused(
    generator: StyleGan2Generator, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    generator.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FolderError, match=said):
        StyleGan2Generator.from_pretrained(tmp_path)
