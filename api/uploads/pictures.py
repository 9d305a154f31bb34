"""From the bytes a client sent to the PNG that is stored: upright, RGB or RGBA, and without any metadata.

The header is read here, the pixels in a child process (`api.uploads.child`).
"""

import hashlib
import re
from dataclasses import dataclass

from api.uploads.child import Ending, Limits, run_decoder
from models.errors import FieldError, TooLargeError, UnsupportedMediaError, ValidationFailedError
from models.settings import Settings
from models.sniff import sniff

MEDIA_TYPE = "image/png"
_HEX = re.compile(rb"[0-9a-f]{64}")
_BYTES_PER_PIXEL = 4
_OUTPUT_OVERHEAD_BYTES = 1 << 20
"""What a PNG of pixels that cannot be compressed needs besides them: filters, block headers, chunks."""
_REASONS = {
    Ending.OUT_OF_MEMORY: ("decoder_out_of_memory", "it needs more memory than a picture may"),
    Ending.TIMED_OUT: ("decoder_timed_out", "it takes longer than a picture may"),
    Ending.CRASHED: ("decoder_crashed", "it makes the decoder crash"),
}


@dataclass(frozen=True)
class Picture:
    """What is stored."""

    body: bytes
    sha256: str
    width: int
    height: int


def normalized(data: bytes, settings: Settings) -> Picture:
    """Decode, turn upright, and encode again. Raises as `_decoded`."""
    body = _decoded(data, settings)
    made = sniff(body)
    if made is None or made.format != "PNG" or not 0 < made.pixels <= settings.max_upload_pixels:
        raise _broken(*_REASONS[Ending.CRASHED])
    return Picture(body, hashlib.sha256(body).hexdigest(), made.width, made.height)


def identified(data: bytes, settings: Settings) -> str:
    """The hash of its pixels, in hex, as artifacts have it. Raises as `_decoded`."""
    found = _HEX.fullmatch(_decoded(data, settings, "hash"))
    if found is None:
        raise _broken(*_REASONS[Ending.CRASHED])
    return found[0].decode()


def _decoded(data: bytes, settings: Settings, *mode: str) -> bytes:
    """What the child wrote, which may have been taken over.

    Raises:
        UnsupportedMediaError: no PNG, JPEG or WebP by its content.
        TooLargeError: more pixels than allowed.
        ValidationFailedError: the file is broken, or breaks its decoder.
        UnavailableError: no decoder can be started now.
    """
    most = settings.max_upload_pixels
    header = sniff(data)
    if header is None:
        raise UnsupportedMediaError("Only PNG, JPEG and WebP pictures are taken; the content decides, not the name.")
    if header.pixels > most:
        raise TooLargeError(f"{header.width} × {header.height} pixels; at most {most} are taken.")
    if header.pixels == 0:
        raise _broken("undecodable", "it has no pixels")
    limits = Limits(
        memory_bytes=settings.upload_memory_mib << 20,
        seconds=settings.upload_seconds,
        output_bytes=header.pixels * _BYTES_PER_PIXEL + _OUTPUT_OVERHEAD_BYTES,
    )
    outcome = run_decoder(data, header.format, most, limits, *mode)
    if outcome.ending is Ending.TOO_LARGE:
        raise TooLargeError(f"At most {most} pixels are taken.")
    if outcome.ending is not Ending.DONE:
        raise _broken(*_REASONS.get(outcome.ending, ("undecodable", outcome.reason)))
    return outcome.body


def _broken(code: str, reason: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/file", code, f"The picture cannot be decoded: {reason}.")])
