"""From a net's floats to the bytes of a picture, and from a file to pixels."""

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.errors import InvalidInputError, PipelineFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def from_pixels(pictures: "Sequence[Pixels]") -> Tensor:
    """`(H, W, 3)` uint8 RGB pictures of one size to `(B, 3, H, W)` float32 in [0, 1]."""
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).contiguous().float() / 255


def read_picture(body: bytes) -> "Pixels":
    """(H, W, 3) uint8 RGB of a PNG, WebP or JPEG. What is transparent is laid over white.

    Raises:
        InvalidInputError: these bytes are no such picture.
    """
    try:
        with Image.open(io.BytesIO(body), formats=("PNG", "WEBP", "JPEG")) as picture:
            if picture.has_transparency_data:
                layer = picture.convert("RGBA")
                canvas = Image.new("RGBA", layer.size, "white")
                canvas.alpha_composite(layer)
                return np.array(canvas.convert("RGB"))
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInputError(f"An input cannot be read as a picture: {type(error).__name__}.") from error
