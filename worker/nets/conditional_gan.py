"""A small class-conditional GAN: conditional batch normalisation in the generator, projection in the discriminator.

Generator after BigGAN (Brock et al. 2018, arXiv:1809.11096): noise and class together set every block's gains.
Discriminator after Miyato and Koyama 2018 (arXiv:1802.05637), with spectral normalisation (arXiv:1802.05957) and the
minibatch deviation of Karras et al. 2017 (arXiv:1710.10196). The discriminator is needed for training only.
"""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FIRST_SIDE = 4


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """What ``config.json`` says: enough to build the generator before its weights are read."""

    class_names: tuple[str, ...]
    num_classes: int
    latent_dim: int = 64
    image_size: int = 32
    channels: int = 1
    widths: tuple[int, ...] = (128, 96, 64, 32)
    class_dim: int = 32

    def __post_init__(self) -> None:
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")
        if FIRST_SIDE << (len(self.widths) - 1) != self.image_size:
            raise ValueError(f"{len(self.widths)} widths do not grow {FIRST_SIDE} px to {self.image_size} px")


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and shift are linear in a condition (de Vries et al. 2017, arXiv:1707.00683)."""

    def __init__(self, width: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.modulate = nn.Linear(condition_dim, 2 * width)
        nn.init.zeros_(self.modulate.bias)
        nn.init.normal_(self.modulate.weight, std=0.02)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """``(B, width, H, W)`` and ``(B, condition_dim)`` to ``(B, width, H, W)``."""
        gain, shift = self.modulate(condition)[..., None, None].chunk(2, dim=1)
        normal: Tensor = self.norm(features)
        modulated: Tensor = normal * (1 + gain) + shift
        return modulated


class GrowingBlock(nn.Module):
    """A residual block that doubles the side."""

    def __init__(self, width_in: int, width_out: int, condition_dim: int) -> None:
        super().__init__()
        self.norm_1 = ConditionalNorm(width_in, condition_dim)
        self.conv_1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm_2 = ConditionalNorm(width_out, condition_dim)
        self.conv_2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.skip = nn.Conv2d(width_in, width_out, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, 2H, 2W)``."""
        inner = F.interpolate(F.relu(self.norm_1(features, condition)), scale_factor=2.0)
        inner = self.conv_2(F.relu(self.norm_2(self.conv_1(inner), condition)))
        grown: Tensor = F.interpolate(self.skip(features), scale_factor=2.0) + inner
        return grown


class ConditionalGenerator(nn.Module):
    """Noise and a class to a picture."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        condition_dim = config.latent_dim + config.class_dim
        self.embed = nn.Embedding(config.num_classes, config.class_dim)
        self.first = nn.Linear(condition_dim, config.widths[0] * FIRST_SIDE**2)
        pairs = pairwise(config.widths)
        self.blocks = nn.ModuleList(GrowingBlock(width_in, width_out, condition_dim) for width_in, width_out in pairs)
        self.norm = nn.BatchNorm2d(config.widths[-1])
        self.last = nn.Conv2d(config.widths[-1], config.channels, 3, padding=1)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """``(B, latent_dim)`` standard normal and ``(B,)`` integers to ``(B, channels, side, side)`` in [-1, 1]."""
        condition = torch.cat([latents, self.embed(labels)], dim=1)
        features = self.first(condition).unflatten(1, (self.config.widths[0], FIRST_SIDE, FIRST_SIDE))
        for block in self.blocks:
            features = block(features, condition)
        picture: Tensor = torch.tanh(self.last(F.relu(self.norm(features))))
        return picture

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"_class_name": type(self).__name__} | asdict(self.config)
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
        tensors = {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in self.state_dict().items()
        }
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors writes files for their owner alone

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Build from ``config.json`` and load the weights, as float32 and ready to generate."""
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
        if (name := config.pop("_class_name", None)) != cls.__name__:
            raise ValueError(f"{folder} holds a {name}, not a {cls.__name__}")
        lists = {key: tuple(value) for key, value in config.items() if isinstance(value, list)}
        generator = cls(GeneratorConfig(**(config | lists)))
        generator.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return generator.float().eval().requires_grad_(requires_grad=False)


def normed(layer: nn.Module) -> nn.Module:
    """A layer under spectral normalisation."""
    wrapped: nn.Module = spectral_norm(layer)
    return wrapped


class ShrinkingBlock(nn.Module):
    """A residual block that halves the side."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv_1 = normed(nn.Conv2d(width_in, width_in, 3, padding=1))
        self.conv_2 = normed(nn.Conv2d(width_in, width_out, 3, padding=1))
        self.skip = normed(nn.Conv2d(width_in, width_out, 1))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H/2, W/2)``."""
        inner = F.avg_pool2d(self.conv_1(F.leaky_relu(features, 0.2)), 2)
        inner = self.conv_2(F.leaky_relu(inner, 0.2))
        shrunk: Tensor = self.skip(F.avg_pool2d(features, 2)) + inner
        return shrunk


class ProjectionDiscriminator(nn.Module):
    """A picture and its claimed class to a realness score."""

    def __init__(self, num_classes: int, channels: int = 1, widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        super().__init__()
        self.first = normed(nn.Conv2d(channels, widths[0], 3, padding=1))
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(ShrinkingBlock(width_in, width_out) for width_in, width_out in pairs)
        self.final = normed(nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1))
        self.score = normed(nn.Linear(widths[-1], 1))
        self.embed = normed(nn.Embedding(num_classes, widths[-1]))

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """``(B, channels, side, side)`` in [-1, 1] and ``(B,)`` to scores ``(B,)``."""
        features = self.first(pictures)
        for block in self.blocks:
            features = block(features)
        deviation = features.std(dim=0).mean().expand(len(features), 1, *features.shape[2:])
        features = F.leaky_relu(self.final(torch.cat([features, deviation], dim=1)), 0.2).sum(dim=(2, 3))
        scores: Tensor = self.score(features).squeeze(1) + (self.embed(labels) * features).sum(dim=1)
        return scores
