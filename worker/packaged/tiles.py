"""Large pictures piece by piece: tiles overlap, lose their outer margin, and fade into each other, so no seam shows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.float32]
Enlarge = Callable[[Pixels], npt.NDArray[np.float32]]
"""(h, w, 3) uint8 to (s·h, s·w, 3) about [0, 1]."""


@dataclass(frozen=True)
class Span:
    """Along one side, in pixels of the small picture: what a tile sees, and what it gives."""

    sees_from: int
    sees_to: int
    gives_from: int
    gives_to: int
    fades: tuple[int, int]
    """Pixels at its start and at its end that a neighbour gives too; none at the picture's border."""

    def weights(self, scale: int) -> Weights:
        """Of each large pixel that it gives: 1, and towards a neighbour a straight line; the two add up to 1."""
        found = np.ones((self.gives_to - self.gives_from) * scale, np.float32)
        for fade, part in zip(self.fades, (found, found[::-1]), strict=True):
            length = 2 * fade * scale
            part[:length] = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
        return found


def spans(length: int, tile: int, margin: int) -> Iterator[Span]:
    """Cut a side into pieces of at most `tile` pixels, of equal length but for one pixel.

    Each sees `margin` pixels more on both sides. The outer half of that is only seen; the inner half is given, as is
    as much of its own that the neighbour gives too.
    """
    count = math.ceil(length / tile)
    fade = min(margin // 2, length // count // 2)
    edges = [round(number * length / count) for number in range(count + 1)]
    for start, end in pairwise(edges):
        before, after = (fade if start > 0 else 0), (fade if end < length else 0)
        sees = max(0, start - margin), min(length, end + margin)
        yield Span(*sees, start - before, end + after, (before, after))


def enlarge_tiled(
    enlarge: Enlarge,
    pixels: Pixels,
    *,
    scale: int,
    tile: int,
    margin: int,
    on_tile: Callable[[int, int], None] | None = None,
) -> Pixels:
    """(H, W, 3) uint8 to (scale·H, scale·W, 3) uint8. `on_tile(done, total)` may raise to stop."""
    height, width = pixels.shape[:2]
    pieces = [(rows, columns) for rows in spans(height, tile, margin) for columns in spans(width, tile, margin)]
    large = np.zeros((height * scale, width * scale, 3), np.float32)
    for done, (rows, columns) in enumerate(pieces, start=1):
        seen = pixels[rows.sees_from : rows.sees_to, columns.sees_from : columns.sees_to]
        piece = np.clip(enlarge(np.ascontiguousarray(seen)), 0.0, 1.0)
        given = piece[_within(rows, scale), _within(columns, scale)]
        weights = rows.weights(scale)[:, None, None] * columns.weights(scale)[None, :, None]
        large[_slice(rows, scale), _slice(columns, scale)] += given * weights
        if on_tile is not None:
            on_tile(done, len(pieces))
    large *= 255
    large += 0.5
    return np.clip(large, 0, 255, out=large).astype(np.uint8)


def _slice(span: Span, scale: int) -> slice:
    """In the large picture."""
    return slice(span.gives_from * scale, span.gives_to * scale)


def _within(span: Span, scale: int) -> slice:
    """In what the tile makes."""
    return slice((span.gives_from - span.sees_from) * scale, (span.gives_to - span.sees_from) * scale)
