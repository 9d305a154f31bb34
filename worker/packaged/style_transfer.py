"""A picture in another's style, in one pass: any picture as the style, or one of 26 that a network knows by heart.

The first is Ghiasi et al. 2017 (one network reads a style into 100 numbers, another paints with them), the second
Dumoulin et al. 2017 (conditional instance normalisation).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import InvalidInputError
from worker.packaged.files import STYLE_BY_VECTOR, STYLE_OF_PICTURE, STYLES_BY_NAME
from worker.packaged.sessions import input_names, open_session

Pixels = npt.NDArray[np.uint8]

STYLE_NAMES: Final[tuple[str, ...]] = (
    "faded-fresco", "yellow-ink", "twilight-pencil", "neon-strokes", "crimson-print", "autumn-oil", "indigo-dots",
    "primary-night", "magenta-sketch", "red-and-slate", "umber", "ochre-engraving", "lavender-oil", "green-carnival",
    "pale-aqua", "stained-glass", "violet-chalk", "red-weave", "sepia-woodcut", "starry-blue", "deep-red",
    "pink-poster", "woodblock", "dusk", "frost-etching", "dark-impasto",
)  # fmt: skip
"""By index. The network came without names; these are ours, for what the styles look like."""
STYLE_SIDE: Final = 256
PAINT_SIDE: Final = 384
"""Pixels of the longer side at which any-picture styles are painted; the graph is fixed at it."""
LEAST_SIDE: Final = 256
"""Strokes have a size in pixels: a smaller picture is enlarged for the painting, and shrunk again."""
MOST_SIDE: Final = 2048
STRIDE: Final = 4
"""The named network halves twice."""


class StyleTransfer:
    """Loaded once; paints many."""

    def __init__(self, threads: int = 1) -> None:
        self._read: Any = open_session(STYLE_OF_PICTURE, threads)
        self._paint: Any = open_session(STYLE_BY_VECTOR, threads)
        self._named: Any = open_session(STYLES_BY_NAME, threads)

    def like(self, pixels: Pixels, style: Pixels, strength: float = 1.0) -> Pixels:
        """(H, W, 3) uint8 RGB in the style of another picture of any size.

        `strength` in (0, 1] goes from the picture's own style vector to the other's. The painting has 384 pixels on
        its longer side and is resized to the picture's, so large pictures come out soft.
        """
        wanted = strength * self._vector(style) + (1.0 - strength) * self._vector(pixels)
        height, width = pixels.shape[:2]
        scale = PAINT_SIDE / max(height, width)
        small = _resized(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
        content = _unit(small)
        below, right = PAINT_SIDE - content.shape[0], PAINT_SIDE - content.shape[1]
        padded = np.pad(content, ((0, below), (0, right), (0, 0)), mode="symmetric")
        content_name, vector_name = input_names(self._paint)
        (painted,) = self._paint.run(None, {content_name: padded[None], vector_name: wanted})
        return _resized(_pixels(painted[0, : content.shape[0], : content.shape[1]]), height, width)

    def named(self, pixels: Pixels, style: str, strength: float = 1.0) -> Pixels:
        """(H, W, 3) uint8 RGB in one of `STYLE_NAMES`. `strength` below 1 mixes the picture itself in.

        Raises:
            InvalidInputError: there is no such style.
        """
        if style not in STYLE_NAMES:
            raise InvalidInputError(f"There is no style {style!r}; there are: {', '.join(STYLE_NAMES)}.")
        height, width = pixels.shape[:2]
        scale = max(1.0, LEAST_SIDE / max(height, width)) * min(1.0, MOST_SIDE / max(height, width))
        rows, columns = max(STRIDE, round(height * scale)), max(STRIDE, round(width * scale))
        content = _unit(_resized(pixels, rows, columns))
        padded = np.pad(content, ((0, -rows % STRIDE), (0, -columns % STRIDE), (0, 0)), mode="symmetric")
        weights = np.zeros(len(STYLE_NAMES), np.float32)
        weights[STYLE_NAMES.index(style)] = 1.0
        image_name, weights_name = input_names(self._named)
        inputs = {image_name: np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), weights_name: weights}
        (painted,) = self._named.run(None, inputs)
        styled = _resized(_pixels(painted[0].transpose(1, 2, 0)[:rows, :columns]), height, width)
        return _pixels(strength * _unit(styled) + (1.0 - strength) * _unit(pixels)) if strength < 1.0 else styled

    def _vector(self, style: Pixels) -> npt.NDArray[np.float32]:
        """(1, 1, 1, 100): of the largest square in the middle."""
        height, width = style.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = _resized(style[top : top + side, left : left + side], STYLE_SIDE, STYLE_SIDE)
        (name,) = input_names(self._read)
        (vector,) = self._read.run(None, {name: _unit(square)[None]})
        read: npt.NDArray[np.float32] = vector.astype(np.float32)
        return read


def _unit(pixels: Pixels) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _pixels(unit: npt.NDArray[np.float32]) -> Pixels:
    rounded: Pixels = (np.clip(unit, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(rounded)


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
