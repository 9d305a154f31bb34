"""From the bytes a client sent to the PNG that is stored: upright, RGB or RGBA, and without any metadata."""

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, ImageOps

from api.uploads.sniff import sniff
from models.errors import FieldError, TooLargeError, UnsupportedMediaError, ValidationFailedError

MEDIA_TYPE = "image/png"
_COMPRESSION = 3
"""Of zlib: half the time of the default for a few percent more bytes."""
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})

# Sizes are checked from the header before Pillow sees a byte; its own limit warns instead of failing.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """What is stored."""

    body: bytes
    sha256: str
    width: int
    height: int


def normalized(data: bytes, max_pixels: int) -> Picture:
    """Decode, turn upright, and encode again.

    Raises:
        UnsupportedMediaError: no PNG, JPEG or WebP by its content.
        TooLargeError: more pixels than allowed.
        ValidationFailedError: the file is broken.
    """
    header = sniff(data)
    if header is None:
        raise UnsupportedMediaError("Only PNG, JPEG and WebP pictures are taken; the content decides, not the name.")
    if header.pixels > max_pixels:
        raise TooLargeError(f"{header.width} × {header.height} pixels; at most {max_pixels} are taken.")
    if header.pixels == 0:
        raise _broken("it has no pixels")
    try:
        image = _decoded(data, header.format, max_pixels)
        body = io.BytesIO()
        image.save(body, "PNG", compress_level=_COMPRESSION)
    except TooLargeError:
        raise
    except Exception as error:  # decoders raise whatever they like on a file that is made to break them
        raise _broken(type(error).__name__) from error
    encoded = body.getvalue()
    return Picture(encoded, hashlib.sha256(encoded).hexdigest(), image.width, image.height)


def _decoded(data: bytes, wanted: str, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=(wanted,)) as opened:
        if opened.width * opened.height > max_pixels:
            raise TooLargeError(f"At most {max_pixels} pixels are taken.")
        opened.load()
        upright = ImageOps.exif_transpose(opened)
        transparent = upright.mode in _ALPHA_MODES or "transparency" in upright.info
        plain = _eight_bits(upright).convert("RGBA" if transparent else "RGB")
    # What Pillow would write into the PNG besides the pixels: profile, text, resolution.
    plain.info = {}
    return plain


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit: `convert` would cut off everything above 255."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image


def _broken(reason: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/file", "undecodable", f"The picture cannot be decoded: {reason}.")])
