"""Structural similarity: how alike two pictures look, from local means, contrasts and correlation."""

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]

WINDOW_PIXELS = 11
SIGMA_PIXELS = 1.5
K1, K2, PEAK = 0.01, 0.03, 255.0


def ssim(picture: Picture, other: Picture) -> float:
    """The mean SSIM of two `(H, W, 3)` uint8 pictures of one size, in [-1, 1]; 1 only when they are equal.

    (2 mx my + C1)(2 cov + C2) / ((mx² + my² + C1)(vx + vy + C2)), with local means, variances and the covariance under
    a Gaussian window of 11 pixels and sigma 1.5; C = (K L)², K1 0.01, K2 0.03, L 255: Wang, Bovik, Sheikh & Simoncelli,
    "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004. Taken in each of R, G and B where
    the window fits whole, then averaged, as torchmetrics and scikit-image do for colour; the paper itself looks at
    luma. A picture with a side below 11 is looked at through the largest odd window that fits it.

    Raises:
        ValueError: the sizes differ.
    """
    if picture.shape != other.shape:
        raise ValueError(f"pictures of {picture.shape} and {other.shape} cannot be compared")
    window = _window(min(WINDOW_PIXELS, *picture.shape[:2]))
    channels = range(picture.shape[2])
    return float(np.mean([_of_plane(picture[..., c], other[..., c], window) for c in channels]))


def _of_plane(first: Picture, second: Picture, window: Plane) -> float:
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _smooth(x, window), _smooth(y, window)
    variance_x = _smooth(x * x, window) - mean_x**2
    variance_y = _smooth(y * y, window) - mean_y**2
    covariance = _smooth(x * y, window) - mean_x * mean_y
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(luminance * structure))


def _window(pixels: int) -> Plane:
    """`(n,)` weights that sum to one, n odd."""
    reach = (pixels - 1) // 2
    weights = np.exp(-(np.arange(-reach, reach + 1, dtype=np.float64) ** 2) / (2 * SIGMA_PIXELS**2))
    normalised: Plane = weights / weights.sum()
    return normalised


def _smooth(plane: Plane, window: Plane) -> Plane:
    """The weighted mean around every pixel where the window fits: `(H - n + 1, W - n + 1)`. Separable."""
    height, width = (side - len(window) + 1 for side in plane.shape)
    rows = np.zeros((height, plane.shape[1]))
    for offset, weight in enumerate(window):
        rows += weight * plane[offset : offset + height]
    smoothed = np.zeros((height, width))
    for offset, weight in enumerate(window):
        smoothed += weight * rows[:, offset : offset + width]
    return smoothed
