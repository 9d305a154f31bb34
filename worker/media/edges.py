"""Edges of a picture, the map that most ControlNets were trained with, by arithmetic on the CPU."""

import numpy as np
import numpy.typing as npt

from worker.media.smoothing import gaussian
from worker.quality.components import connected

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

SIGMA_PIXELS = 1.0
WEAKEST_SCALE = 64.0
"""A picture whose strongest gradient is below this (a step of black to white has 1,020) shows noise, not edges."""
DIAGONAL = 0.41421356
"""tan 22.5°: from here on a gradient counts as diagonal."""


def canny(
    picture: Picture, low_threshold: float = 0.1, high_threshold: float = 0.2, sigma: float = SIGMA_PIXELS
) -> Picture:
    """The edges of `(H, W, 3)` uint8 as `(H, W, 3)` uint8, 255 on an edge and 0 elsewhere; lines one pixel thin.

    Canny, "A Computational Approach to Edge Detection", 1986: a Gaussian, Sobel's gradient, only its maxima across the
    edge, and of those all above the high threshold with what hangs together with them above the low one. Of R, G and B
    the one with the strongest gradient counts at each pixel, so that colours of one brightness are told apart.
    Thresholds are shares of the picture's strongest gradient; for a photograph, whose is about 1,000, the customary 100
    and 200 are 0.1 and 0.2.
    """
    strength, dx, dy = _gradient(picture, sigma)
    scale = max(float(strength.max()), WEAKEST_SCALE)
    weak = _is_crest(strength, dx, dy) & (strength >= max(low_threshold * scale, 1.0))
    edges = _hanging_together(weak, strong=weak & (strength >= high_threshold * scale))
    return np.repeat((edges * np.uint8(255))[..., None], 3, axis=2)


def _gradient(picture: Picture, sigma: float) -> tuple[Plane, Plane, Plane]:
    """Its length, and how much brighter it gets to the right and downwards, `(H, W)` each."""
    gradients = []
    for channel in range(3):
        plane = np.pad(gaussian(picture[..., channel].astype(np.float32), sigma), 1, mode="edge")
        across = plane[:, 2:] - plane[:, :-2]
        down = plane[2:] - plane[:-2]
        dx = across[:-2] + 2 * across[1:-1] + across[2:]
        dy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
        gradients.append((np.hypot(dx, dy), dx, dy))
    strength, dx, dy = gradients[0]
    for other, other_dx, other_dy in gradients[1:]:
        stronger = other > strength
        dx, dy = np.where(stronger, other_dx, dx), np.where(stronger, other_dy, dy)
        strength = np.maximum(strength, other)
    return strength, dx, dy


def _is_crest(strength: Plane, dx: Plane, dy: Plane) -> npt.NDArray[np.bool_]:
    """Where the gradient is larger than behind it and not smaller than ahead, in its own direction to within 22.5°."""
    padded = np.pad(strength, 1)
    height, width = strength.shape

    def shifted(down: int, across: int) -> Plane:
        return padded[1 + down : 1 + down + height, 1 + across : 1 + across + width]

    level, upright = np.abs(dy) <= DIAGONAL * np.abs(dx), np.abs(dx) <= DIAGONAL * np.abs(dy)
    choices = [level, upright, dx * dy > 0]
    ahead = np.select(choices, [shifted(0, 1), shifted(1, 0), shifted(1, 1)], shifted(1, -1))
    behind = np.select(choices, [shifted(0, -1), shifted(-1, 0), shifted(-1, -1)], shifted(-1, 1))
    crest: npt.NDArray[np.bool_] = (strength > behind) & (strength >= ahead)
    return crest


def _hanging_together(weak: npt.NDArray[np.bool_], strong: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The weak pixels from which a chain of neighbours (of eight) leads to a strong one."""
    count = int(weak.sum())
    numbers = np.full((weak.shape[0] + 1, weak.shape[1] + 2), -1, np.int64)
    numbers[:-1, 1:-1][weak] = np.arange(count)
    here = numbers[:-1, 1:-1]
    pairs = [(here, other) for other in (numbers[:-1, 2:], numbers[1:, :-2], numbers[1:, 1:-1], numbers[1:, 2:])]
    both = [(one >= 0) & (other >= 0) for one, other in pairs]
    first = np.concatenate([one[joined] for (one, _), joined in zip(pairs, both, strict=True)])
    second = np.concatenate([other[joined] for (_, other), joined in zip(pairs, both, strict=True)])
    labels = connected(count, first, second)
    kept = np.zeros(count, bool)
    kept[labels[here[strong]]] = True
    found = np.zeros_like(weak)
    found[weak] = kept[labels]
    return found
