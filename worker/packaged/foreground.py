"""What stands in front: U²-Net's small variant, which marks the salient object of a picture (Qin et al. 2020)."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.packaged.files import FOREGROUND
from worker.packaged.sessions import input_names, open_session

SIDE: Final = 320
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
LEAST_CONTRAST: Final = 1e-3
"""Below it nothing stands out, and stretching the mask would only show noise."""


class ForegroundFinder:
    """Loaded once; masks many."""

    def __init__(self, threads: int = 1) -> None:
        self._session: Any = open_session(FOREGROUND, threads)
        (self._input,) = input_names(self._session)

    def mask(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to a soft mask (H, W) in [0, 1]: 1 is the object, 0 is what lies behind it.

        As the authors do it, the mask is stretched over its range, so the most salient thing always counts.
        """
        height, width = pixels.shape[:2]
        outputs = self._session.run(None, {self._input: _prepared(pixels)})
        saliency = outputs[0][0, 0]
        low, high = float(saliency.min()), float(saliency.max())
        if high - low < LEAST_CONTRAST:
            return np.zeros((height, width), np.float32)
        stretched = Image.fromarray(((saliency - low) / (high - low)).astype(np.float32))
        resized = np.asarray(stretched.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        return np.clip(resized, 0.0, 1.0)


def _prepared(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(1, 3, 320, 320), the brightest value at 1, then ImageNet's mean and deviation."""
    resized = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    scaled = np.asarray(resized, np.float32)
    scaled = scaled / max(float(scaled.max()), 1.0)
    normal = (scaled - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])
