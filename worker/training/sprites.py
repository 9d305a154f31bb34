"""Emoji sprites: one RGBA picture per noun and style, loaded once and scaled on demand.

Pictures stay premultiplied by their alpha, so that scaling leaves no dark fringe.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.training import sources
from worker.training.nouns import nouns

STYLES: Final = ("flat", "cartoon", "3d")
FOLDERS: Final = {"flat": "package/img/google/64", "cartoon": "package/img/twitter/64", "3d": "package/assets"}
BASE_PIXELS: Final = 64

Pixels = NDArray[np.float32]


def file_of(folder: Path, codepoints: str) -> Path:
    """The picture of a code point sequence; sets differ in whether they write the variation selector ``fe0f``."""
    plain = codepoints.replace("-fe0f", "")
    for stem in (codepoints, plain, f"{plain}-fe0f"):
        for suffix in (".png", ".webp"):
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return path
    raise FileNotFoundError(f"no picture of {codepoints} in {folder}")


def trimmed(picture: Image.Image) -> Image.Image:
    """Crop to what is visible, centre in a square, and scale to ``BASE_PIXELS``: RGBa, premultiplied."""
    picture = picture.convert("RGBA")
    picture = picture.crop(picture.getchannel("A").getbbox())
    side = max(picture.size)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square.convert("RGBa").resize((BASE_PIXELS, BASE_PIXELS), Image.Resampling.LANCZOS)


class Sprites:
    """Every sprite of every style, in memory."""

    def __init__(self, data_dir: Path) -> None:
        self._base: dict[tuple[int, int], Image.Image] = {}
        for style_index, style in enumerate(STYLES):
            folder = sources.fetch(style, data_dir) / FOLDERS[style]
            for noun_index, noun in enumerate(nouns()):
                with Image.open(file_of(folder, noun.codepoints)) as picture:
                    self._base[noun_index, style_index] = trimmed(picture)
        self.scaled = lru_cache(maxsize=None)(self._scaled)

    def _scaled(self, noun: int, style: int, pixels: int) -> Pixels:
        """One sprite at a size: ``(pixels, pixels, 4)`` premultiplied RGBA in [0, 1]."""
        small = self._base[noun, style].resize((pixels, pixels), Image.Resampling.LANCZOS)
        return np.asarray(np.asarray(small, dtype=np.float32) / 255, dtype=np.float32)
