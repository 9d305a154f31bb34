"""Luma: the one grey that every metric here means."""

import numpy as np
import numpy.typing as npt

WEIGHTS = (0.299, 0.587, 0.114)
"""Of R, G and B (ITU-R BT.601, as JPEG and Pillow weigh them)."""


def luma(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """`(H, W, 3)` uint8 RGB to `(H, W)` float32 in [0, 255]."""
    return picture.astype(np.float32) @ np.array(WEIGHTS, np.float32)
