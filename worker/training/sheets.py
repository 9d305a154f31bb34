"""Sheets of what a training made: many small pictures in one PNG, to be looked at. Captions: `worker.media.sheets`."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.media.sheets import tile
from worker.training.composites import as_bytes


def sheet(pictures: NDArray[np.float32], columns: int, zoom: int = 2) -> Image.Image:
    """Tile ``(B, H, W, C)`` in [0, 1], row by row; the last row is filled with white."""
    samples = tile(as_bytes(pictures), columns)
    image = Image.fromarray(samples if samples.shape[-1] > 1 else samples[..., 0])
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
