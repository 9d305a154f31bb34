"""A contact sheet: every picture enlarged without smoothing, because small pictures are shown as they are."""

import math
from collections.abc import Sequence
from pathlib import Path

ENLARGEMENT = 4
LARGE_PIXELS = 256
"""Pictures of this size and more are not enlarged."""
MARGIN_PIXELS = 8
COLUMNS = 4
BACKGROUND = (245, 245, 245)


def contact_sheet(pictures: Sequence[Path], to: Path) -> Path:
    """Write the pictures, at least one, in rows of four."""
    from PIL import Image

    tiles = []
    for path in pictures:
        with Image.open(path) as picture:
            factor = ENLARGEMENT if max(picture.size) < LARGE_PIXELS else 1
            size = (picture.width * factor, picture.height * factor)
            tiles.append(picture.convert("RGB").resize(size, Image.Resampling.NEAREST))
    columns = min(COLUMNS, len(tiles))
    width = max(tile.width for tile in tiles) + MARGIN_PIXELS
    height = max(tile.height for tile in tiles) + MARGIN_PIXELS
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * width + MARGIN_PIXELS, rows * height + MARGIN_PIXELS), BACKGROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(tile, (column * width + MARGIN_PIXELS, row * height + MARGIN_PIXELS))
    sheet.save(to)
    return to
