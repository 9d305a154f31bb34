"""Sharpness: how much fine detail a picture has, and whether so little that it must be called blurred."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.quality.luma import luma

COMPARED_SIDE_PIXELS = 256
"""Larger pictures are looked at in this size, so that the same scene scores the same at 512 and at 4,096 pixels."""
BLURRED_BELOW = 100.0
"""The limit that the literature starts from for photographs; flat art of few edges needs a lower one."""


@dataclass(frozen=True)
class Sharpness:
    """A score from 0 (one flat colour) without an upper end, some thousands for noise; and the verdict on it."""

    score: float
    blurred: bool


def sharpness(picture: npt.NDArray[np.uint8], blurred_below: float = BLURRED_BELOW) -> Sharpness:
    """The variance of the Laplacian of the luma of `(H, W, 3)` uint8.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000: edges give the second derivative a wide
    spread, a blurred picture has none. The kernel is the four-neighbour one, over pixels that have all four. Pictures
    above 256 pixels are first averaged down to a longest side of 256; a picture with a side below 3 has no inside and
    scores 0.
    """
    plane = luma(_compared(picture))
    inside = plane[1:-1, 1:-1]
    if not inside.size:
        return Sharpness(0.0, blurred=blurred_below > 0)
    laplacian = plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:] - 4 * inside
    score = float(laplacian.var(dtype=np.float64))
    return Sharpness(score, score < blurred_below)


def _compared(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest <= COMPARED_SIDE_PIXELS:
        return picture
    size = tuple(max(1, round(side * COMPARED_SIDE_PIXELS / longest)) for side in (width, height))
    return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BOX))
