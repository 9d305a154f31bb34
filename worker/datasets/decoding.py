"""From a file that a client sent to pixels: with a bound on its size, and every failure of a decoder caught."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from models.sniff import sniff

Pixels = npt.NDArray[np.uint8]

WHITE: Final = (255, 255, 255, 255)


class UnusablePictureError(ValueError):
    """`reason` is a word for reports: `broken` or `too_large`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode(body: bytes, max_pixels: int) -> Pixels:
    """`(H, W, 3)` uint8 RGB of a PNG, JPEG or WebP, turned upright, laid over white where it is transparent.

    Raises:
        UnusablePictureError: broken, cut off, no such picture, or of more pixels than allowed.
    """
    header = sniff(body)
    if header is None or not header.pixels:
        raise UnusablePictureError("broken", "no PNG, JPEG or WebP")
    if header.pixels > max_pixels:
        raise UnusablePictureError("too_large", f"{header.width} × {header.height} pixels")
    try:
        return _decoded(body, header.format, max_pixels)
    except (UnusablePictureError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # decoders raise whatever they like on a file made to break them
        raise UnusablePictureError("broken", f"it cannot be decoded: {type(error).__name__}") from None


def _decoded(body: bytes, format_name: str, max_pixels: int) -> Pixels:
    with Image.open(io.BytesIO(body), formats=(format_name,)) as opened:
        if opened.width * opened.height > max_pixels:
            raise UnusablePictureError("too_large", f"{opened.width} × {opened.height} pixels")
        opened.load()
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):  # 16-bit grey: `convert` would cut off everything above 255
            picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            picture = Image.new("RGBA", layer.size, WHITE)
            picture.alpha_composite(layer)
        return np.array(picture.convert("RGB"))
