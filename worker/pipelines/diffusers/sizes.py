"""Which sizes a loaded net can make, told before the run: some classes would round them in silence."""

import math
from dataclasses import dataclass
from typing import Any, Self

from models.params import DiffusionParams

_UNET_MULTIPLE = 8
"""Pixels; what diffusers' UNet pipelines ask for, whatever their autoencoder."""


@dataclass(frozen=True)
class SizeRule:
    """Sides must be multiples of this many pixels, and at most that many."""

    multiple: int
    max_side: int | None

    @classmethod
    def of(cls, pipe: Any) -> Self:
        """Read it off a loaded pipeline: pixels per latent × latents per patch."""
        transformer = getattr(getattr(pipe, "transformer", None), "config", {})
        patch = transformer.get("patch_size") or 1
        per_latent = int(getattr(pipe, "vae_scale_factor", _UNET_MULTIPLE))
        per_patch = per_latent * (patch if isinstance(patch, int) else max(patch))
        processor = getattr(getattr(pipe, "image_processor", None), "config", {})
        multiple = math.lcm(per_patch, int(processor.get("vae_scale_factor") or 1))
        if getattr(pipe, "unet", None) is not None:
            multiple = math.lcm(multiple, _UNET_MULTIPLE)
        positions = transformer.get("pos_embed_max_size")
        return cls(multiple, int(positions) * per_patch if positions else None)

    def problem(self, params: DiffusionParams) -> str:
        """Why the size cannot be made; empty when it can."""
        sides = (params.width or 0, params.height or 0)
        if any(side % self.multiple for side in sides):
            return f"Width and height must be multiples of {self.multiple} pixels for this checkpoint."
        if self.max_side and max(sides) > self.max_side:
            return f"Width and height may be at most {self.max_side} pixels for this checkpoint."
        return ""
