"""Growing, shrinking and fading of masks, on grey levels, by discs and Gaussians."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Mask = npt.NDArray[np.uint8]


def grow(mask: Mask, pixels: int) -> Mask:
    """`(H, W)` uint8, larger by a disc of this radius; smaller when it is negative.

    Grey dilation and erosion (Serra 1982). What lies outside of the picture counts neither as covered nor as bare, so
    that a mask that touches the edge goes on touching it.
    """
    if pixels < 0:
        return 255 - _dilate(255 - mask, -pixels)
    return _dilate(mask, pixels)


def feather(mask: Mask, pixels: float) -> Mask:
    """`(H, W)` uint8 whose hard edge fades over about so many pixels, half of them on each side."""
    if pixels <= 0:
        return mask
    # A blurred step goes from 2 % to 98 % within four standard deviations.
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(pixels / 4)))


def _dilate(mask: Mask, radius: int) -> Mask:
    """The maximum over a disc: for each of its rows, over a run as wide as the disc is there.

    From the disc's poles to its equator the runs only get longer, so each is the last one and two more columns.
    """
    height, width = mask.shape
    grown, run, reach = mask.copy(), mask.copy(), 0
    for away in range(min(radius, height - 1), -1, -1):
        wanted = min(math.isqrt(radius**2 - away**2), width - 1)
        for step in range(reach + 1, wanted + 1):
            np.maximum(run[:, step:], mask[:, :-step], out=run[:, step:])
            np.maximum(run[:, :-step], mask[:, step:], out=run[:, :-step])
        reach = max(reach, wanted)
        np.maximum(grown[away:], run[: height - away], out=grown[away:])
        np.maximum(grown[: height - away], run[away:], out=grown[: height - away])
    return grown
