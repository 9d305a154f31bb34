"""Peak signal-to-noise ratio: how far two pictures are apart, pixel by pixel."""

import math

import numpy as np
import numpy.typing as npt

PEAK = 255.0


def psnr(picture: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Decibels between two `(H, W, 3)` uint8 pictures of one size; `inf` when they are equal.

    10 log₁₀(255² / MSE), the mean taken over all pixels and channels (ITU-T J.247, Annex; as in image coding). Range 0
    (black against white) to infinity. Above 40 dB few people see a difference; JPEG of good quality gives 35–40.

    Raises:
        ValueError: the sizes differ.
    """
    if picture.shape != other.shape:
        raise ValueError(f"pictures of {picture.shape} and {other.shape} cannot be compared")
    # int16 holds every difference; its square is summed in float64, which is exact up to 2^53.
    difference = picture.astype(np.int16) - other
    mean_square = float(np.mean(np.square(difference, dtype=np.float64)))
    if mean_square == 0:
        return math.inf
    return 10 * math.log10(PEAK**2 / mean_square)
