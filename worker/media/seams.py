"""Seams: what was made round a picture is brought to the picture's tone, so that no frame shows where they meet."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.media.morphology import grow

if TYPE_CHECKING:
    from worker.media.morphology import Mask

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]

LOOKED_AT_PIXELS = 256
"""The longer side at which the correction is computed: a tone has no detail."""
BAND_PIXELS = 2
"""How far into the picture it is compared with what was made in its place."""
MOST_LEVELS = 40
"""Of 255: where they differ by more, they show different things, and that is no question of tone."""


def match_tone(picture: Picture, made: Picture, mask: "Mask") -> Picture:
    """`(H, W, 3)` uint8: `made`, with the tone that `picture` has along the edge of what is kept, where `mask` is 0.

    What they differ by there is carried out into the rest, each pixel taking the mean weighted by the inverse fourth
    power of its distance (Shepard 1968), as seamless cloning does by solving an equation (Pérez et al. 2003).
    """
    height, width = mask.shape
    scale = min(1.0, LOOKED_AT_PIXELS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    covered = np.where(mask > 0, np.uint8(255), np.uint8(0))
    band = (covered == 0) & (grow(covered, max(BAND_PIXELS, round(BAND_PIXELS / scale))) > 0)
    apart = picture.astype(np.float64) - made
    weight = (band & (np.abs(apart).max(axis=2) < MOST_LEVELS)).astype(np.float64)
    if not weight.any():
        return made
    planes = [weight, *(weight * apart[..., channel] for channel in range(3))]
    spread = _spread(np.stack([_resized(plane, size, Image.Resampling.BOX) for plane in planes]))
    tone = [_resized(plane / spread[0], (width, height), Image.Resampling.BILINEAR) for plane in spread[1:]]
    return np.clip(np.round(made + np.stack(tone, axis=2)), 0, 255).astype(np.uint8)


def _spread(planes: Plane) -> Plane:
    """`(N, h, w)`, each convolved with the inverse fourth power of the distance; nothing lies beyond the edges."""
    height, width = planes.shape[1:]
    down, across = (np.minimum(np.arange(2 * side), 2 * side - np.arange(2 * side)) for side in (height, width))
    kernel = 1 / (1 + down[:, None] ** 2 + across[None] ** 2) ** 2
    shape = kernel.shape
    whole = np.fft.irfft2(np.fft.rfft2(planes, shape) * np.fft.rfft2(kernel), shape)
    return np.asarray(whole[:, :height, :width])


def _resized(plane: Plane, size: tuple[int, int], filter_: Image.Resampling) -> Plane:
    if plane.shape == (size[1], size[0]):
        return plane
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, filter_), dtype=np.float64)
