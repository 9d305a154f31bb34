"""Filters over one plane of floats: the Gaussian, the mean, and the guided filter."""

import math

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]


def gaussian(plane: Plane, sigma: float) -> Plane:
    """`(H, W)` float32 smoothed by a Gaussian of this many pixels, cut off at three; edges are repeated outwards."""
    reach = math.ceil(3 * sigma)
    if reach < 1:
        return plane
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2)).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        summed = np.zeros_like(plane)
        for offset, weight in enumerate(weights):
            summed += weight * padded[offset : offset + plane.shape[0]]
        plane = summed.T
    return plane


def box(plane: Plane, radius: int) -> Plane:
    """`(H, W)` float32: the mean of the square of this radius around each pixel; edges are repeated outwards.

    By running sums in float64, so that the cost does not depend on the radius.
    """
    for _ in range(2):
        padded = np.pad(plane.astype(np.float64), ((radius + 1, radius), (0, 0)), mode="edge")
        sums = np.cumsum(padded, axis=0)
        plane = ((sums[2 * radius + 1 :] - sums[: -2 * radius - 1]) / (2 * radius + 1)).astype(np.float32).T
    return plane


def guided(guide: Plane, plane: Plane, radius: int, epsilon: float) -> Plane:
    """`plane` smoothed, but not across the edges of `guide`; both `(H, W)` float32, the guide in [0, 1].

    He, Sun & Tang, "Guided Image Filtering", 2010: in every window the result is a line over the guide. Contrasts of
    the guide well below the root of `epsilon` count as flat.
    """
    mean_guide, mean_plane = box(guide, radius), box(plane, radius)
    variance = box(guide * guide, radius) - mean_guide**2
    covariance = box(guide * plane, radius) - mean_guide * mean_plane
    slope = covariance / (variance + epsilon)
    offset = mean_plane - slope * mean_guide
    return box(slope, radius) * guide + box(offset, radius)
