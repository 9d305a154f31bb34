"""From a net's floats to the bytes of a picture."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.errors import PipelineFailedError

if TYPE_CHECKING:
    from worker.pipelines.base import Pixels


def to_pixels(pictures: Tensor) -> "Pixels":
    """`(B, C, H, W)` in [0, 1], C 1 or 3, to `(B, H, W, 3)` uint8 RGB, C-contiguous.

    Rounded as diffusers' `numpy_to_pil` rounds, but on the device: a quarter of the bytes cross to the CPU.

    Raises:
        PipelineFailedError: a picture holds NaN; cast to bytes it would be published as black.
    """
    if pictures.shape[1] == 1:
        pictures = pictures.expand(-1, 3, -1, -1)
    exact = pictures.float()
    if not bool(torch.isfinite(exact).all()):
        raise PipelineFailedError(f"The net produced NaN or infinity in {pictures.dtype}.")
    quantised = (exact.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: Pixels = quantised.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels
