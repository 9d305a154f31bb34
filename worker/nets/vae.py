"""A small convolutional VAE whose prior is a standard Gaussian: it reconstructs, interpolates and draws anew.

Auto-encoding variational Bayes (Kingma and Welling 2013, arXiv:1312.6114). Unlike diffusers' ``AutoencoderKL``, which
keeps a map of latents and leaves the drawing to a diffusion model, one vector here says what the whole picture shows,
and any draw from the prior is a picture.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.folders import FolderError, fit, read_own_config, read_weights, write_folder

FIRST_SIDE = 4
LOG_VARIANCE_BOUND = 10.0


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """What ``config.json`` says: enough to build the network before its weights are read.

    ``encoder_widths`` go from the picture inwards, ``decoder_widths`` from 4 px outwards; each step doubles the side.
    """

    image_size: int = 64
    channels: int = 3
    latent_dim: int = 64
    encoder_widths: tuple[int, ...] = (24, 48, 72, 96)
    decoder_widths: tuple[int, ...] = (128, 72, 48, 32, 24)

    def __post_init__(self) -> None:
        for name, widths, steps in (
            ("encoder_widths", self.encoder_widths, len(self.encoder_widths)),
            ("decoder_widths", self.decoder_widths, len(self.decoder_widths) - 1),
        ):
            if FIRST_SIDE << steps != self.image_size:
                raise ValueError(f"{name} {widths} do not lead from {self.image_size} px to {FIRST_SIDE} px")


class UpBlock(nn.Module):
    """A residual block that doubles the side."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.skip = nn.Conv2d(width_in, width_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, 2H, 2W)``."""
        skipped = F.interpolate(self.skip(features), scale_factor=2.0)
        inner = self.conv_1(F.interpolate(F.silu(features), scale_factor=2.0))
        grown: Tensor = skipped + self.conv_2(F.silu(inner))
        return grown


class GaussianVae(nn.Module):
    """Pictures to Gaussian latents, and latents to pictures."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.channels, *config.encoder_widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.to_latent = nn.Linear(config.encoder_widths[-1] * FIRST_SIDE**2, 2 * config.latent_dim)
        self.from_latent = nn.Linear(config.latent_dim, config.decoder_widths[0] * FIRST_SIDE**2)
        self.up = nn.ModuleList(UpBlock(a, b) for a, b in pairwise(config.decoder_widths))
        self.last = nn.Conv2d(config.decoder_widths[-1], config.channels, 3, padding=1)

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, side, side)`` in [-1, 1] to the posterior's means and log-variances, ``(B, latent_dim)`` each."""
        features = pictures
        for layer in self.down:
            features = F.silu(layer(features))
        mean, log_variance = self.to_latent(features.flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)

    def decode(self, latents: Tensor) -> Tensor:
        """``(B, latent_dim)``, standard normal when drawn, to ``(B, C, side, side)`` in [-1, 1]."""
        features = self.from_latent(latents).unflatten(1, (self.config.decoder_widths[0], FIRST_SIDE, FIRST_SIDE))
        for block in self.up:
            features = block(features)
        pictures: Tensor = torch.tanh(self.last(F.silu(features)))
        return pictures

    def reconstruct(self, pictures: Tensor) -> Tensor:
        """Through the posterior's mean and back: ``(B, C, side, side)`` in [-1, 1] to the same."""
        return self.decode(self.encode(pictures)[0])

    def save_pretrained(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        write_folder(folder, {"_class_name": type(self).__name__} | asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Build from ``config.json`` and load the weights, as float32 and ready to draw.

        Raises:
            FolderError: the folder is not one of these, or its files do not fit each other.
        """
        try:
            vae = cls(VaeConfig(**read_own_config(folder, cls.__name__)))
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, FolderError) else FolderError(f"{folder.name}: {error}") from error
        fit(vae, read_weights(folder))
        return vae.eval().requires_grad_(requires_grad=False)


def interpolated(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Latents between two, along the sphere (White 2016, arXiv:1609.04468): ``(D,)`` twice, ``(F,)`` to ``(F, D)``.

    A straight line would pass nearer to the origin than draws of the prior ever lie. Lengths are blended evenly.
    """
    lengths = torch.lerp(start.norm(), end.norm(), shares)
    left, right = F.normalize(start, dim=0), F.normalize(end, dim=0)
    angle = (left @ right).clamp(-1, 1).arccos()
    if angle < 1e-4:  # noqa: PLR2004 - as good as the same direction
        return lengths[:, None] * left
    weights = torch.stack([((1 - shares) * angle).sin(), (shares * angle).sin()], dim=1) / angle.sin()
    between: Tensor = lengths[:, None] * (weights @ torch.stack([left, right]))
    return between
