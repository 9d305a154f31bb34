"""Rough pictures of latents, mostly without the decoder: one matrix from latent channels to RGB."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.pipelines.pixels import to_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.pipelines.base import Pixels

FACTORS_FILE = "preview_factors.json"
"""Optional in a checkpoint folder: {"weight": C rows of 3, "bias": 3}, pixels in [-1, 1] from scaled latents."""
_SAMPLES, _SIDE, _COARSE = 16, 16, 4
_SMALL_ENOUGH_TO_DECODE = 16 * 16
"""Latents of a picture. One of 64 pixels has 8 × 8: as a picture they show nothing, and decoding them is cheap."""


class LatentPreviewer:
    """Latents to a picture at the latents' own size, or decoded when they are few; None for kinds it cannot lay out.

    The matrix is fitted by least squares to the checkpoint's own decoder when first needed, on smooth random latents:
    decoders map a latent's mean colour almost linearly (as the well-known tables for SD 1.x and SDXL show), and no
    table has to be known for a new autoencoder.
    """

    def __init__(self, pipe: Any, folder: Path) -> None:
        """`folder` may hold factors that were fitted on real pictures."""
        self._pipe = pipe
        self._folder = folder
        self._has_file = (folder / FACTORS_FILE).is_file()
        self._factors: Tensor | None = None
        self._unusable = False

    def __call__(
        self, latents: Tensor, places: "Sequence[int]", size: tuple[int, int], estimate: Tensor | None = None
    ) -> "Pixels | None":
        """`(places, h, w, 3)` uint8 for some rows of a batch of latents, packed (Flux) or `(B, C, h, w)`.

        `size` is the (width, height) that the picture will have.
        `estimate` are the latents that the net foresees for the end, in the same layout; without it the noisy ones are
        shown, brought to unit variance (samplers that count in sigmas carry up to fifteen times that).
        """
        chosen = self._laid_out((latents if estimate is None else estimate)[list(places)], size)
        if chosen is None or self._unusable:
            return None
        if estimate is None:
            chosen = chosen / chosen.float().std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0).to(chosen.dtype)
        try:
            small = chosen.shape[-1] * chosen.shape[-2] <= _SMALL_ENOUGH_TO_DECODE
            rgb = self._decode(chosen) if small and not self._has_file else self._project(chosen)
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError):
            self._unusable = True  # a preview is not worth a job
            return None
        return to_pixels((rgb.float() / 2 + 0.5).nan_to_num())

    def _project(self, latents: Tensor) -> Tensor:
        """`(B, C, h, w)` to `(B, 3, h, w)` in about [-1, 1], by the matrix."""
        channels = latents.shape[1]
        if self._factors is None:
            self._factors = self._read() if self._has_file else self._fit(channels)
        if self._factors.shape != (channels + 1, 3):
            raise ValueError(f"factors of {len(self._factors) - 1} channels for latents of {channels}")
        factors = self._factors.to(latents.device)
        return torch.einsum("bchw,cr->brhw", latents.float(), factors[:-1]) + factors[-1][:, None, None]

    def _decode(self, latents: Tensor) -> Tensor:
        """`(B, C, h, w)` to `(B, 3, H, W)` in about [-1, 1], by the decoder."""
        vae = self._pipe.vae
        scale = getattr(vae.config, "scaling_factor", None) or 1.0
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        latents = latents.to(getattr(self._pipe, "_execution_device", vae.device), vae.dtype)
        decoded: Tensor = vae.decode(latents / scale + shift, return_dict=False)[0]
        return decoded

    def _laid_out(self, latents: Tensor, size: tuple[int, int]) -> Tensor | None:
        """`(B, C, h, w)`, from whatever the class denoises."""
        unpack = getattr(self._pipe, "_unpack_latents", None)
        if latents.ndim == 3 and unpack is not None:  # noqa: PLR2004  # (B, tokens, 4 C): 2 × 2 latents to a token
            latents = unpack(latents, size[1], size[0], self._pipe.vae_scale_factor)
        return latents if latents.ndim == 4 else None  # noqa: PLR2004  # video decoders have a time axis

    def _read(self) -> Tensor:
        stored = json.loads((self._folder / FACTORS_FILE).read_text())
        return torch.tensor([*stored["weight"], stored["bias"]], dtype=torch.float32)

    def _fit(self, channels: int) -> Tensor:
        """`(channels + 1, 3)`, weights and bias: what best explains the mean colour under every latent."""
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(_SAMPLES, channels, _COARSE, _COARSE, generator=generator)
        latents = 1.5 * F.interpolate(coarse, size=(_SIDE, _SIDE), mode="bilinear", align_corners=True)
        decoded = self._decode(latents).float().cpu()
        colours = F.adaptive_avg_pool2d(decoded, _SIDE).permute(0, 2, 3, 1).reshape(-1, 3)
        inputs = latents.permute(0, 2, 3, 1).reshape(-1, channels)
        design = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
        # Ridge: a decoder that ignores a channel would make the system singular.
        gram = design.T @ design + 1e-3 * len(design) * torch.eye(channels + 1)
        factors: Tensor = torch.linalg.solve(gram, design.T @ colours)
        if not bool(torch.isfinite(factors).all()):
            raise ValueError("the decoder overflows in this precision")
        return factors
