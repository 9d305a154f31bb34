"""How unsafe for work a picture is: open_nsfw of Yahoo, a thin ResNet-50 trained on what its authors called unsafe.

It knows pornography alone; violence and hate it does not see. The preparation, with its trip through JPEG, is the
reference's: without it the scores drift.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.packaged.files import NSFW
from worker.packaged.sessions import input_names, open_session

MEAN_BGR: Final = (104.0, 117.0, 123.0)
SIDE: Final = 256
CROP: Final = 224
MAX_BATCH: Final = 16
"""Pictures at once: a bound for memory, about 10 MB of activations each."""
QUALITY: Final = 75
"""Of the trip through JPEG, as Pillow's default was when the reference was made."""
UNSAFE: Final = 1
"""Column of the network's output."""


class NsfwScorer:
    """Loaded once; scores many."""

    def __init__(self, threads: int = 1) -> None:
        self._session: Any = open_session(NSFW, threads)
        (self._input,) = input_names(self._session)

    def scores(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """The probability of *unsafe* of each (H, W, 3) uint8 RGB picture: (N,) in [0, 1]."""
        found = np.empty(len(pictures), np.float32)
        for start in range(0, len(pictures), MAX_BATCH):
            batch = np.stack([_prepared(picture) for picture in pictures[start : start + MAX_BATCH]])
            (outputs,) = self._session.run(None, {self._input: batch})
            found[start : start + len(batch)] = outputs[:, UNSAFE]
        return found


def _prepared(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(224, 224, 3) float32 in BGR around zero."""
    edge = (SIDE - CROP) // 2
    picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    with io.BytesIO() as buffer:
        picture.crop((edge, edge, edge + CROP, edge + CROP)).save(buffer, "JPEG", quality=QUALITY)
        with Image.open(buffer) as decoded:
            rgb = np.asarray(decoded, np.float32)
    return np.ascontiguousarray(rgb[:, :, ::-1] - np.array(MEAN_BGR, np.float32))
