"""DCGAN: noise to a picture through transposed convolutions (Radford et al. 2015, arXiv:1511.06434).

Unconditional, for any side that is a power of two. The discriminator, its mirror image, is needed for training only.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.folders import FolderError, fit, read_own_config, read_weights, write_folder

FIRST_SIDE: Final = 4
SLOPE: Final = 0.2


@dataclass(frozen=True, slots=True)
class DcganConfig:
    """What ``config.json`` says. ``widths`` are the channels at sides 4, 8, … up to half of ``image_size``."""

    latent_dim: int = 100
    image_size: int = 64
    channels: int = 3
    widths: tuple[int, ...] = (256, 128, 64, 32)

    def __post_init__(self) -> None:
        if not self.widths or FIRST_SIDE << len(self.widths) != self.image_size:
            raise ValueError(f"{len(self.widths)} widths do not grow {FIRST_SIDE} px to {self.image_size} px")

    @classmethod
    def for_size(cls, image_size: int, channels: int, last_width: int = 32, widest: int = 256) -> Self:
        """The usual shape for a side: widths double towards the noise, up to ``widest``."""
        levels = image_size.bit_length() - FIRST_SIDE.bit_length()
        widths = tuple(min(widest, last_width << level) for level in reversed(range(levels)))
        return cls(image_size=image_size, channels=channels, widths=widths)


def paper_init(module: nn.Module) -> None:
    """The paper's start: weights from N(0, 0.02), gains from N(1, 0.02)."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, std=0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)


class DcganGenerator(nn.Module):
    """Noise to a picture."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.ConvTranspose2d(config.latent_dim, config.widths[0], FIRST_SIDE, bias=False)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(width_in, width_out, 4, stride=2, padding=1, bias=False)
            for width_in, width_out in pairwise(config.widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in config.widths)
        self.last = nn.ConvTranspose2d(config.widths[-1], config.channels, 4, stride=2, padding=1)
        paper_init(self)

    def forward(self, latents: Tensor) -> Tensor:
        """``(B, latent_dim)`` standard normal to ``(B, channels, side, side)`` in [-1, 1]."""
        features = F.relu(self.norms[0](self.first(latents[..., None, None])))
        for grow, norm in zip(self.grow, list(self.norms)[1:], strict=True):
            features = F.relu(norm(grow(features)))
        picture: Tensor = torch.tanh(self.last(features))
        return picture

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        write_folder(folder, {"_class_name": type(self).__name__} | asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Build from ``config.json`` and load the weights, as float32 and ready to generate.

        Raises:
            FolderError: files that are missing, unreadable, or do not fit each other.
        """
        try:
            generator = cls(DcganConfig(**read_own_config(folder, cls.__name__)))
        except (TypeError, ValueError) as error:
            raise FolderError(str(error)) from error
        fit(generator, read_weights(folder))
        return generator.float().eval().requires_grad_(requires_grad=False)


class DcganDiscriminator(nn.Module):
    """A picture to a realness score."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.first = nn.Conv2d(config.channels, widths[0], 4, stride=2, padding=1)
        self.shrink = nn.ModuleList(
            nn.Conv2d(width_in, width_out, 4, stride=2, padding=1, bias=False)
            for width_in, width_out in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.score = nn.Conv2d(widths[-1], 1, FIRST_SIDE)
        paper_init(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """``(B, channels, side, side)`` in [-1, 1] to logits ``(B,)``, positive for real."""
        features = F.leaky_relu(self.first(pictures), SLOPE)
        for shrink, norm in zip(self.shrink, self.norms, strict=True):
            features = F.leaky_relu(norm(shrink(features)), SLOPE)
        logits: Tensor = self.score(features).flatten(0)
        return logits
