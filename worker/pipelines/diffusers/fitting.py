"""Pictures and masks brought to the size that is worked at, and sizes that go with a picture."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from models.params import CheckpointProfile, Fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.pipelines.base import Pixels

Mask = npt.NDArray[np.uint8]


def fit_picture(pixels: "Pixels", width: int, height: int, fit: Fit) -> "Pixels":
    """`(height, width, 3)`; a picture that has the size stays as it is, to the byte."""
    return _fitted(pixels, width, height, fit, Image.Resampling.LANCZOS)


def fit_mask(mask: Mask, width: int, height: int, fit: Fit) -> Mask:
    """`(height, width)`, as `fit_picture` would bring the picture under it."""
    return _fitted(mask, width, height, fit, Image.Resampling.BILINEAR)  # Lanczos would ring: a mask has no lobes


def _fitted(pixels: Mask, width: int, height: int, fit: Fit, filter_: Image.Resampling) -> Mask:
    full_height, full_width = pixels.shape[:2]
    if (full_width, full_height) == (width, height):
        return pixels
    image = Image.fromarray(pixels)
    if fit is Fit.STRETCH:
        return np.array(image.resize((width, height), filter_))
    if fit is Fit.COVER:
        scale = min(full_width / width, full_height / height)
        # Rounded, 88 × (25 / 88) is more than 25: no box may begin outside.
        left, top = max(0.0, (full_width - width * scale) / 2), max(0.0, (full_height - height * scale) / 2)
        box = (left, top, full_width - left, full_height - top)
        return np.array(image.resize((width, height), filter_, box=box))
    inner = contained(full_width, full_height, width, height)
    small = np.asarray(image.resize(inner, filter_))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    return on_canvas(small, width, height, left, top)


def contained(full_width: int, full_height: int, width: int, height: int) -> tuple[int, int]:
    """The largest (width, height) of the first shape inside of the second."""
    scale = min(width / full_width, height / full_height)
    return min(width, max(1, round(full_width * scale))), min(height, max(1, round(full_height * scale)))


def on_canvas(pixels: Mask, width: int, height: int, left: int, top: int) -> Mask:
    """A picture or mask in a larger one; what is round it continues its edges."""
    right, below = width - left - pixels.shape[1], height - top - pixels.shape[0]
    sides: list[tuple[int, int]] = [(top, below), (left, right)]
    return np.pad(pixels, sides + [(0, 0)] * (pixels.ndim - 2), mode="edge")


def nearest_size(profile: CheckpointProfile, width: int, height: int) -> tuple[int, int]:
    """The (width, height) that the checkpoint can make whose shape is the picture's and whose area is its own."""
    area = profile.default_width * profile.default_height
    shape = width / height
    sides = (math.sqrt(area * shape), math.sqrt(area / shape))
    step = profile.size_multiple
    lowest, highest = -(-profile.min_size // step) * step, profile.max_size // step * step
    fitting = [min(max(round(side / step) * step, lowest), highest) for side in sides]
    return fitting[0], fitting[1]


def to_tensor(pictures: "Sequence[Pixels]") -> Tensor:
    """`(B, 3, H, W)` float32 in [0, 1], of pictures of one size: what every diffusers class takes."""
    stacked = torch.from_numpy(np.stack(pictures))
    return stacked.permute(0, 3, 1, 2).to(torch.float32) / 255
