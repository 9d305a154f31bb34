"""Sheets: many small pictures in one PNG, to be looked at."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.training.composites import as_bytes


def sheet(pictures: NDArray[np.float32], columns: int, zoom: int = 2) -> Image.Image:
    """Tile ``(B, H, W, C)`` in [0, 1], row by row; the last row is filled with white."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    filled = np.ones((rows * columns, height, width, channels), np.float32)
    filled[:count] = pictures
    tiled = filled.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    samples = as_bytes(tiled.reshape(rows * height, columns * width, channels))
    image = Image.fromarray(samples if channels > 1 else samples[..., 0])
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
