"""Contact sheets: many pictures in one, in rows, to be looked at, with a line of text below each if there is one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]

MARGIN_PIXELS = 8
BACKGROUND, INK = (255, 255, 255), (40, 40, 40)
TEXT_PIXELS = 14
WIDE_FONT = "NotoSansCJK-Regular.ttc"
"""For texts that Pillow's own font has no letters for, where the machine has it; Debian's fonts-noto-cjk."""


def tile(pictures: npt.NDArray[np.uint8], columns: int) -> Picture:
    """`(B, H, W, C)` to `(rows * H, columns * W, C)`, edge to edge; the last row is filled with white."""
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    filled = np.full((rows * columns, height, width, channels), 255, np.uint8)
    filled[:count] = pictures
    by_row = filled.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return by_row.reshape(rows * height, columns * width, channels)


def contact_sheet(
    pictures: Sequence[Picture], captions: Sequence[str] = (), *, columns: int = 4, cell_pixels: int = 256
) -> Picture:
    """One `(H, W, 3)` uint8 picture of others of any size, with a margin, and a caption below each if there are any.

    Small pictures are enlarged by whole factors and not smoothed, so that they are seen as they are; large ones are
    averaged down to a side of `cell_pixels`. A caption that is too long ends in an ellipsis.

    Raises:
        ValueError: no picture, or not one caption for each.
    """
    if not pictures or (captions and len(captions) != len(pictures)):
        raise ValueError(f"{len(pictures)} pictures with {len(captions)} captions")
    columns = min(columns, len(pictures))
    thumbnails = [_thumbnail(picture, cell_pixels) for picture in pictures]
    wide = max(thumbnail.width for thumbnail in thumbnails)
    high = max(thumbnail.height for thumbnail in thumbnails)
    font = _font(captions)
    text_pixels = 2 * TEXT_PIXELS if captions else 0
    rows = -(-len(pictures) // columns)
    step_x, step_y = wide + MARGIN_PIXELS, high + text_pixels + MARGIN_PIXELS
    sheet = Image.new("RGB", (columns * step_x + MARGIN_PIXELS, rows * step_y + MARGIN_PIXELS), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, thumbnail in enumerate(thumbnails):
        left = number % columns * step_x + MARGIN_PIXELS
        top = number // columns * step_y + MARGIN_PIXELS
        sheet.paste(thumbnail, (left + (wide - thumbnail.width) // 2, top + (high - thumbnail.height) // 2))
        if captions:
            text = _fitting(captions[number], wide, font)
            middle = (left + wide / 2, top + high + text_pixels / 2)
            pen.text(middle, text, fill=INK, font=font, anchor="mm")
    return np.asarray(sheet)


def _thumbnail(picture: Picture, cell_pixels: int) -> Image.Image:
    image = Image.fromarray(picture)
    longest = max(image.size)
    if longest <= cell_pixels:
        factor = cell_pixels // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    width, height = (max(1, round(side * cell_pixels / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _font(captions: Sequence[str]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, the same on every machine, unless the texts need letters that it lacks."""
    if any(ord(letter) > 0x2E7F for text in captions for letter in text):  # noqa: PLR2004  # where CJK begins
        try:
            return ImageFont.truetype(WIDE_FONT, TEXT_PIXELS)
        except OSError:
            pass  # boxes are better than no sheet
    return ImageFont.load_default(TEXT_PIXELS)


def _fitting(text: str, pixels: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of the first line as fits."""
    line = " ".join(text.split())
    if font.getlength(line) <= pixels:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(line[:middle].rstrip() + "…") <= pixels else (low, middle - 1)
    return line[:low].rstrip() + "…"
