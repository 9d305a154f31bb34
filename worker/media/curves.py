"""Line charts of figures over steps, e.g. of a training: one panel for each figure. Drawn with Pillow alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]

WIDTH_PIXELS, PANEL_PIXELS = 720, 180
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 28, 24
BACKGROUND, FRAME, INK, FAINT = (255, 255, 255), (210, 210, 210), (40, 40, 40), (190, 205, 230)
LINE = (32, 84, 160)
TEXT_PIXELS = 13
SMOOTHED_SHARE = 0.04
"""Of all points: the window of the moving mean that is drawn over the raw ones."""


def curves(steps: Sequence[int], figures: Mapping[str, Sequence[float]]) -> Picture:
    """`(H, 720, 3)` uint8: raw points faint, their moving mean strong. Points that are no numbers leave gaps.

    Raises:
        ValueError: no figure, or not one value for each step.
    """
    if not steps or not figures or any(len(values) != len(steps) for values in figures.values()):
        raise ValueError(f"{len(steps)} steps with figures {[len(values) for values in figures.values()]}")
    sheet = Image.new("RGB", (WIDTH_PIXELS, PANEL_PIXELS * len(figures)), BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PIXELS)
    for row, (name, values) in enumerate(figures.items()):
        _panel(pen, font, row * PANEL_PIXELS, name, np.asarray(steps, float), np.asarray(values, float))
    return np.asarray(sheet)


def moving_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Of as many neighbours as there are at the ends."""
    kernel = np.ones(min(window, len(values)))
    weights = np.convolve(np.ones(len(values)), kernel, mode="same")
    mean: npt.NDArray[np.float64] = np.convolve(values, kernel, mode="same") / weights
    return mean


def _panel(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    top: int,
    name: str,
    steps: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
) -> None:
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    box = (LEFT, top + TOP, WIDTH_PIXELS - RIGHT, top + PANEL_PIXELS - BOTTOM)
    pen.rectangle(box, outline=FRAME)
    last = f"   {values[-1]:.4g}" if len(values) else "   no numbers"
    pen.text((LEFT, top + 6), name + last, fill=INK, font=font)
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    room = (high - low) or max(abs(high), 1.0)
    x = box[0] + (steps - steps[0]) / max(float(np.ptp(steps)), 1.0) * (box[2] - box[0])
    smooth = moving_mean(values, max(1, round(len(values) * SMOOTHED_SHARE)))
    for line, colour, width in ((values, FAINT, 1), (smooth, LINE, 2)):
        y = box[3] - (line - low) / room * (box[3] - box[1])
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        pen.line(points if len(points) > 1 else points * 2, fill=colour, width=width)
    for value, y_at in ((high, box[1]), (low, box[3])):
        pen.text((LEFT - 6, y_at), f"{value:.3g}", fill=INK, font=font, anchor="rm")
    for step, anchor, x_at in ((steps[0], "la", box[0]), (steps[-1], "ra", box[2])):
        pen.text((x_at, box[3] + 5), f"{int(step):,}", fill=INK, font=font, anchor=anchor)
