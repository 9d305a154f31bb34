"""A contact sheet: every picture enlarged without smoothing, because small pictures are shown as they are."""

import math
from collections.abc import Sequence
from pathlib import Path

TILE_PIXELS = 256
"""Pictures are enlarged by whole factors up to this size; larger ones stay as they are."""
MARGIN_PIXELS = 8
COLUMNS = 4
BACKGROUND = (245, 245, 245)


def contact_sheet(
    pictures: Sequence[Path], to: Path, *, tile_pixels: int = TILE_PIXELS, most_pixels: int | None = None
) -> Path:
    """Write the pictures, at least one, in rows of four; what is larger than `most_pixels` is shrunk to it."""
    from PIL import Image

    tiles = []
    for path in pictures:
        with Image.open(path) as picture:
            tile = picture.convert("RGB")
            if most_pixels is not None:
                tile.thumbnail((most_pixels, most_pixels))
            factor = max(1, tile_pixels // max(tile.size))
            size = (tile.width * factor, tile.height * factor)
            tiles.append(tile.resize(size, Image.Resampling.NEAREST))
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
