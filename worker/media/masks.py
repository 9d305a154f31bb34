"""Masks drawn from shapes: rectangles, ellipses, polygons and strokes.

The shapes and what is allowed in them are declared in `models.params.edits`; what does not fit is refused there, with a
pointer to the field. Here they are only drawn.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from models.params.edits import Box, Polygon, Shape
from models.params.edits import Stroke as StrokeShape
from worker.media.morphology import feather, grow

Mask = npt.NDArray[np.uint8]

FINER = 4
"""Shapes are drawn on a canvas so many times as fine and averaged, for edges without steps."""
FINER_UP_TO_PIXELS = 1 << 24
"""Of the finer canvas; for pictures beyond it the steps are small against the picture."""


def draw_mask(
    shapes: Sequence[Shape], width: int, height: int, *, grow_share: float = 0.0, feather_share: float = 0.0
) -> Mask:
    """`(height, width)` uint8: 255 inside of any shape, 0 outside, grey on the edges.

    `grow_share` and `feather_share` are shares of the longer side, as in the params: see `finish_mask`.
    """
    finer = FINER if width * height * FINER**2 <= FINER_UP_TO_PIXELS else 1
    canvas = Image.new("L", (width * finer, height * finer), 0)
    pen = ImageDraw.Draw(canvas)
    for shape in shapes:
        _draw(pen, shape, canvas.width, canvas.height)
    mask = np.asarray(canvas.reduce(finer) if finer > 1 else canvas)
    return finish_mask(mask, grow_share=grow_share, feather_share=feather_share)


def finish_mask(mask: Mask, *, grow_share: float = 0.0, feather_share: float = 0.0) -> Mask:
    """Any mask, drawn, uploaded or found by a net, grown (or shrunk) and then faded, in shares of the longer side."""
    longer = max(mask.shape)
    return feather(grow(mask, round(grow_share * longer)), feather_share * longer)


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, width: int, height: int) -> None:
    if isinstance(shape, Box):
        # The last column and row belong to Pillow's shapes, so that half the canvas ends one before its middle.
        left, top = round(shape.left * width), round(shape.top * height)
        right, bottom = round(shape.right * width) - 1, round(shape.bottom * height) - 1
        draw = pen.rectangle if shape.shape == "rectangle" else pen.ellipse
        draw((left, top, max(left, right), max(top, bottom)), fill=255)
        return
    points = [(x * width - 0.5, y * height - 0.5) for x, y in shape.points]
    if isinstance(shape, Polygon):
        pen.polygon(points, fill=255)
    else:
        _draw_stroke(pen, shape, points, max(width, height))


def _draw_stroke(
    pen: ImageDraw.ImageDraw, shape: StrokeShape, points: list[tuple[float, float]], longer_side: int
) -> None:
    """A line with round ends and joints; one point alone is a dot."""
    thick = max(1, round(shape.width * longer_side))
    pen.line(points, fill=255, width=thick)
    for x, y in points:
        pen.ellipse((x - (thick - 1) / 2, y - (thick - 1) / 2, x + (thick - 1) / 2, y + (thick - 1) / 2), fill=255)
