"""Pixels to files. Of metadata only the provenance goes in, and the prompt only when its client asked for that."""

import hashlib
import io
import zlib
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image

from models.artifacts import MEDIA_TYPES
from models.params import OutputFormat
from models.provenance import Provenance, stamp
from worker.courier.frames import PictureHead
from worker.courier.signing import Signer

_OPTIONS: dict[OutputFormat, dict[str, Any]] = {
    # Run lengths only: after PNG's filters a picture holds few longer matches. Measured on 512 px photographs: three
    # times as fast as level 1 and as small as level 6.
    OutputFormat.PNG: {"format": "PNG", "compress_type": zlib.Z_RLE, "compress_level": 1},
    OutputFormat.WEBP: {"format": "WEBP", "lossless": True, "method": 1, "quality": 0},
    OutputFormat.JPEG: {"format": "JPEG", "quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class EncodedFile:
    """A file in memory, and what its artifact row will say."""

    body: bytes
    sha256: str
    media_type: str


def encode(
    head: PictureHead,
    pixels: memoryview,
    output_format: OutputFormat,
    provenance: Provenance | None = None,
    signer: Signer | None = None,
) -> EncodedFile:
    """Make a file of (height, width, 3) uint8 RGB, stamped with its provenance, and signed if there is a signer.

    Raises:
        SigningError: see there; only with a signer.
    """
    # Any buffer will do; Pillow's annotation only knows some of them.
    picture = Image.frombuffer("RGB", (head.width, head.height), cast(bytes, pixels), "raw", "RGB", 0, 1)
    stream = io.BytesIO()
    picture.save(stream, **_OPTIONS[output_format])
    return seal(stream.getvalue(), MEDIA_TYPES[output_format.value], provenance, signer)


def seal(
    body: bytes, media_type: str, provenance: Provenance | None = None, signer: Signer | None = None
) -> EncodedFile:
    """A finished file, e.g. an animation, as `encode` leaves one."""
    if provenance is not None:
        # Not by Pillow's options: it has none for GIF and another for each format, and a copy costs less than the hash.
        body = stamp(body, media_type, provenance)
        if signer is not None:
            body = signer(body, media_type, provenance)
    return EncodedFile(body, hashlib.sha256(body).hexdigest(), media_type)
