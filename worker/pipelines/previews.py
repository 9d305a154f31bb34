"""Rough pictures of latents, without the decoder: one matrix from latent channels to RGB."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.params import TextToImageParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.pipelines.base import Pixels

FACTORS_FILE = "preview_factors.json"
"""Optional in a checkpoint folder: {"weight": C rows of 3, "bias": 3}, pixels in [-1, 1] from scaled latents."""
_SAMPLES, _SIDE, _COARSE = 16, 16, 4


class LatentPreviewer:
    """Latents to `(h, w, 3)` at the latents' own size; None for latents of a kind that it cannot lay out.

    The matrix is fitted by least squares to the checkpoint's own decoder when first needed, on smooth random latents:
    decoders map a latent's mean colour almost linearly (as the well-known tables for SD 1.x and SDXL show), and no
    table has to be known for a new autoencoder.
    """

    def __init__(self, pipe: Any, folder: Path) -> None:
        """`folder` may hold factors that were fitted on real pictures."""
        self._pipe = pipe
        self._folder = folder
        self._factors: Tensor | None = None
        self._unusable = False

    def __call__(self, latents: Tensor, places: "Sequence[int]", params: TextToImageParams) -> "Pixels | None":
        """`(places, h, w, 3)` uint8 for some rows of a batch of latents, packed (Flux) or `(B, C, h, w)`."""
        from worker.pipelines.pixels import to_pixels

        chosen = self._laid_out(latents[list(places)], params)
        if chosen is None or self._unusable:
            return None
        factors = self._fitted(chosen.shape[1])
        if factors is None:
            return None
        factors = factors.to(chosen.device)
        plain = chosen.float()
        # Samplers that count in sigmas carry latents of up to fifteen times unit variance.
        plain = plain / plain.std(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
        weight, bias = factors[:-1], factors[-1]
        rgb = torch.einsum("bchw,cr->brhw", plain, weight) + bias[:, None, None]
        return to_pixels(rgb / 2 + 0.5)

    def _laid_out(self, latents: Tensor, params: TextToImageParams) -> Tensor | None:
        """`(B, C, h, w)`, from whatever the class denoises."""
        unpack = getattr(self._pipe, "_unpack_latents", None)
        if latents.ndim == 3 and unpack is not None:  # noqa: PLR2004  # (B, tokens, 4 C): 2 × 2 latents to a token
            latents = unpack(latents, params.height, params.width, self._pipe.vae_scale_factor)
        return latents if latents.ndim == 4 else None  # noqa: PLR2004  # video decoders have a time axis

    def _fitted(self, channels: int) -> Tensor | None:
        """`(channels + 1, 3)`: weights, and the bias as last row."""
        if self._factors is None:
            try:
                self._factors = self._read() if (self._folder / FACTORS_FILE).is_file() else self._fit(channels)
            except (RuntimeError, ValueError, KeyError, AttributeError, TypeError):
                self._unusable = True  # a preview is not worth a job
        if self._factors is None or len(self._factors) != channels + 1:
            self._unusable = True
            return None
        return self._factors

    def _read(self) -> Tensor:
        stored = json.loads((self._folder / FACTORS_FILE).read_text())
        rows = [*stored["weight"], stored["bias"]]
        return torch.tensor(rows, dtype=torch.float32)

    def _fit(self, channels: int) -> Tensor:
        """Decode smooth noise and solve for the matrix that explains the mean colour of every latent."""
        vae = self._pipe.vae
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(_SAMPLES, channels, _COARSE, _COARSE, generator=generator)
        latents = F.interpolate(coarse, size=(_SIDE, _SIDE), mode="bilinear", align_corners=True)
        latents = (latents * 1.5).to(vae.device, vae.dtype)
        scale = getattr(vae.config, "scaling_factor", None) or 1.0
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        decoded = vae.decode(latents / scale + shift, return_dict=False)[0].float()
        colours = F.adaptive_avg_pool2d(decoded, _SIDE).permute(0, 2, 3, 1).reshape(-1, 3)
        inputs = latents.float().permute(0, 2, 3, 1).reshape(-1, channels)
        design = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1).cpu()
        # Ridge: a decoder that ignores a channel would make the system singular.
        gram = design.T @ design + 1e-3 * len(design) * torch.eye(channels + 1)
        factors: Tensor = torch.linalg.solve(gram, design.T @ colours.cpu())
        return factors
