"""What `preprocess` does to one picture: crop, turn, and bring to a size. Colours are `colours`' business.

Pure functions from `(H, W, 3)` uint8 RGB to the same; pixels are copied, never changed in place.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.params.data_sets import Crop, Resize
from worker.quality.luma import luma

Picture = npt.NDArray[np.uint8]
Rgb = tuple[int, int, int]

CENTRE_PULL = 0.15
"""How much of all detail an off-centre crop must gain over the centre, from edge to edge, to be taken."""


def crop(picture: Picture, width: int, height: int, how: Crop = Crop.SQUARE) -> Picture:
    """The largest part with the shape of `width` × `height`, from the middle or from where most happens.

    Nothing is scaled: a 300 × 200 picture cropped to 1 × 1 is 200 × 200. `Crop.NONE` gives the picture back.
    """
    if how is Crop.NONE:
        return picture
    full_height, full_width = picture.shape[:2]
    part_width = min(full_width, max(1, round(full_height * width / height)))
    part_height = min(full_height, max(1, round(full_width * height / width)))
    left, top = (full_width - part_width) // 2, (full_height - part_height) // 2
    if how is Crop.SMART:
        energy = gradient_energy(picture)
        left = _busiest(energy.sum(axis=0), part_width)
        top = _busiest(energy.sum(axis=1), part_height)
    return np.ascontiguousarray(picture[top : top + part_height, left : left + part_width])


def gradient_energy(picture: Picture) -> npt.NDArray[np.float64]:
    """`(H, W)`: how much the luma changes at each pixel, |∂x| + |∂y|.

    The energy of Avidan & Shamir, "Seam Carving for Content-Aware Image Resizing", 2007: simple, and hard to beat.
    """
    plane = luma(picture).astype(np.float64)
    across = np.abs(np.diff(plane, axis=1, append=plane[:, -1:]))
    down = np.abs(np.diff(plane, axis=0, append=plane[-1:]))
    return across + down


def resize(
    picture: Picture, width: int, height: int, how: Resize = Resize.COVER, pad_colour: Rgb = (0, 0, 0)
) -> Picture:
    """`(height, width, 3)`, by Lanczos' filter (which also averages when it shrinks).

    COVER fills the size and cuts off evenly what stands out, CONTAIN puts all of it in the middle of `pad_colour`,
    STRETCH gives up the picture's shape.
    """
    full_height, full_width = picture.shape[:2]
    if how is Resize.STRETCH:
        return _scaled(picture, width, height)
    if how is Resize.COVER:
        return _scaled(crop(picture, width, height), width, height)
    scale = min(width / full_width, height / full_height)
    inner_width = min(width, max(1, round(full_width * scale)))
    inner_height = min(height, max(1, round(full_height * scale)))
    padded = np.empty((height, width, 3), np.uint8)
    padded[:] = pad_colour
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    padded[top : top + inner_height, left : left + inner_width] = _scaled(picture, inner_width, inner_height)
    return padded


def mirror(picture: Picture) -> Picture:
    """Left and right exchanged."""
    return np.ascontiguousarray(picture[:, ::-1])


def flip(picture: Picture) -> Picture:
    """Top and bottom exchanged."""
    return np.ascontiguousarray(picture[::-1])


def rotate(picture: Picture, degrees: float, pad_colour: Rgb = (0, 0, 0)) -> Picture:
    """Turned anticlockwise. Quarter turns move pixels and lose none; others keep the size and fill the corners."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(picture, int(degrees // 90)))
    turned = Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=pad_colour)
    return np.asarray(turned)


def _scaled(picture: Picture, width: int, height: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture.copy()
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _busiest(profile: npt.NDArray[np.float64], length: int) -> int:
    """Where the run of this length with the most of a profile begins; the middle, unless another gains enough."""
    places = len(profile) - length + 1
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    inside = sums[length:] - sums[:places]
    distance = np.abs(np.arange(places) - (places - 1) / 2) / max((places - 1) / 2, 0.5)
    return int(np.argmax(np.round(inside - CENTRE_PULL * distance * sums[-1], 6)))
