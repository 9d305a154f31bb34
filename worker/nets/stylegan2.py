"""A StyleGAN2-type generator: a mapping net, modulated convolutions, noise inputs, summed RGB outputs.

After Karras et al. 2020 (arXiv:1912.04958): weights are modulated by a style and demodulated, each level adds to the
picture through its own 1x1 convolution, learning rates are equalised, and ``w_mean`` serves truncation. Upsampling is
bilinear, which is the paper's [1, 3, 3, 1] filter; a style scales the features before a shared convolution and the
demodulation after it, which equals scaled weights and lets one convolution serve the whole batch.

The discriminator is in ``stylegan2_discriminator.py``.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.nets.equalised import GAIN, SLOPE, EqualConv, EqualLinear
from worker.nets.folders import FolderError, fit, read_own_config, read_weights, write_folder

FIRST_SIDE: Final = 4
MAPPING_RATE: Final = 0.01
"""The mapping net learns a hundred times more slowly than the rest, as in the paper."""


@dataclass(frozen=True, slots=True)
class StyleGan2Config:
    """What ``config.json`` says. ``widths`` are the channels at sides 4, 8, … up to ``image_size``."""

    latent_dim: int = 128
    style_dim: int = 128
    mapping_layers: int = 4
    image_size: int = 64
    channels: int = 3
    widths: tuple[int, ...] = (160, 160, 128, 64, 32)

    def __post_init__(self) -> None:
        if not self.widths or FIRST_SIDE << (len(self.widths) - 1) != self.image_size:
            raise ValueError(f"{len(self.widths)} widths do not grow {FIRST_SIDE} px to {self.image_size} px")

    @property
    def num_styles(self) -> int:
        """How many style inputs there are: two for each side."""
        return 2 * len(self.widths)


class ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales; demodulation brings the output back to unit variance."""

    def __init__(self, width_in: int, width_out: int, kernel: int, style_dim: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.conv = EqualConv(width_in, width_out, kernel, bias=False)
        self.affine = EqualLinear(style_dim, width_in, bias=1.0)
        self.demodulate = demodulate

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` and ``(B, style_dim)`` to ``(B, width_out, H, W)``."""
        scale = self.affine(style)
        result: Tensor = self.conv(features * scale[..., None, None].to(features.dtype))
        if self.demodulate:
            power = (self.conv.scaled_weight().square().sum(dim=(2, 3)) @ scale.float().square().T).T
            result = result * (power + 1e-8).rsqrt()[..., None, None].to(result.dtype)
        return result


class StyledLayer(nn.Module):
    """A modulated 3x3 convolution, then noise, bias and activation; ``grow`` doubles the side before it."""

    def __init__(self, width_in: int, width_out: int, style_dim: int, *, grow: bool) -> None:
        super().__init__()
        self.grow = grow
        self.conv = ModulatedConv(width_in, width_out, 3, style_dim)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(width_out))

    def forward(self, features: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H', W')``; ``noise`` is ``(B, 1, H', W')`` or nothing."""
        if self.grow:
            features = F.interpolate(features, scale_factor=2.0, mode="bilinear")
        features = self.conv(features, style)
        if noise is not None:
            features = features + (noise * self.noise_strength).to(features.dtype)
        return F.leaky_relu(features + self.bias[:, None, None].to(features.dtype), SLOPE) * GAIN


class StyleGan2Generator(nn.Module):
    """Latents to styles to a picture."""

    w_mean: Tensor

    def __init__(self, config: StyleGan2Config) -> None:
        super().__init__()
        self.config = config
        sides = (config.latent_dim, *(config.style_dim,) * config.mapping_layers)
        self.mapping = nn.ModuleList(
            EqualLinear(dim_in, dim_out, rate=MAPPING_RATE) for dim_in, dim_out in pairwise(sides)
        )
        self.const = nn.Parameter(torch.randn(config.widths[0], FIRST_SIDE, FIRST_SIDE))
        widths, style_dim = config.widths, config.style_dim
        self.layers = nn.ModuleList([StyledLayer(widths[0], widths[0], style_dim, grow=False)])
        for width_in, width_out in pairwise(widths):
            self.layers.append(StyledLayer(width_in, width_out, style_dim, grow=True))
            self.layers.append(StyledLayer(width_out, width_out, style_dim, grow=False))
        self.to_rgb = nn.ModuleList(
            ModulatedConv(width, config.channels, 1, style_dim, demodulate=False) for width in widths
        )
        self.rgb_bias = nn.Parameter(torch.zeros(len(widths), config.channels))
        self.register_buffer("w_mean", torch.zeros(style_dim))

    def map_latents(self, latents: Tensor) -> Tensor:
        """``(B, latent_dim)`` standard normal to ``w``, ``(B, style_dim)``."""
        w = latents * (latents.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            w = F.leaky_relu(layer(w), SLOPE) * GAIN
        return w

    def truncated(self, w: Tensor, truncation: float | Tensor) -> Tensor:
        """``w`` drawn towards its mean, by one number or one for each: 1 leaves it alone, 0 gives the mean picture."""
        factor = torch.as_tensor(truncation, dtype=w.dtype, device=w.device).reshape(-1).expand(len(w))
        return self.w_mean + factor[:, None] * (w - self.w_mean)

    def styles_of(
        self,
        latents: Tensor,
        truncation: float | Tensor = 1.0,
        other: Tensor | None = None,
        crossover: int | None = None,
    ) -> Tensor:
        """``(B, latent_dim)`` to ``(B, num_styles, style_dim)``.

        With ``other`` latents, style inputs from ``crossover`` on are theirs: the coarse ones (shape) stay, the finer
        ones (colour, texture) come from ``other``.

        Raises:
            ValueError: a crossover without other latents, or not within [0, num_styles].
        """
        count = self.config.num_styles
        styles = self.truncated(self.map_latents(latents), truncation)[:, None].expand(-1, count, -1)
        if other is None and crossover is None:
            return styles
        if other is None or crossover is None or not 0 <= crossover <= count:
            raise ValueError(f"style mixing takes other latents and a crossover from 0 to {count}")
        others = self.truncated(self.map_latents(other), truncation)[:, None].expand(-1, count - crossover, -1)
        return torch.cat([styles[:, :crossover], others], dim=1)

    def noise_inputs(self, streams: Sequence[torch.Generator]) -> list[Tensor]:
        """The noise of every layer, ``(B, 1, side, side)`` each; picture ``i`` takes its own from stream ``i``."""
        levels = len(self.config.widths)
        sides = [FIRST_SIDE, *(FIRST_SIDE << level for level in range(1, levels) for _ in range(2))]
        rows = [[torch.randn(1, side, side, generator=stream) for side in sides] for stream in streams]
        return [torch.stack(layer).to(self.const.device) for layer in zip(*rows, strict=True)]

    def synthesise(self, styles: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """``(B, num_styles, style_dim)`` to pictures ``(B, channels, side, side)``, roughly in [-1, 1].

        Without ``noise`` the noise inputs are silent.
        """
        features = self.const.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        picture: Tensor | None = None
        for index, layer in enumerate(self.layers):
            features = layer(features, styles[:, index], None if noise is None else noise[index])
            if index % 2 == 0:
                level = index // 2
                part = self.to_rgb[level](features, styles[:, index + 1]).float() + self.rgb_bias[level][:, None, None]
                grown = 0 if picture is None else F.interpolate(picture, scale_factor=2.0, mode="bilinear")
                picture = part + grown
        assert picture is not None  # the config refuses an empty ``widths``  # noqa: S101
        return picture

    def forward(
        self,
        latents: Tensor,
        truncation: float | Tensor = 1.0,
        other: Tensor | None = None,
        crossover: int | None = None,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """``(B, latent_dim)`` standard normal to ``(B, channels, side, side)`` in [-1, 1]; see :meth:`styles_of`."""
        return self.synthesise(self.styles_of(latents, truncation, other, crossover), noise).clamp(-1, 1)

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
            generator = cls(StyleGan2Config(**read_own_config(folder, cls.__name__)))
        except (TypeError, ValueError) as error:
            raise FolderError(str(error)) from error
        fit(generator, read_weights(folder))
        return generator.float().eval().requires_grad_(requires_grad=False)
