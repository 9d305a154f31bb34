"""The program that decodes one upload, in a process of its own: picture on standard input, PNG on standard output.

    python -I decoder.py FORMAT MAX_PIXELS MEMORY_BYTES CPU_SECONDS OUTPUT_BYTES [hash]

With `hash` only the identity of its pixels is written, as the courier computes it for what it stores.

It imports Pillow and nothing of ours, holds no secret, and gives up what it could do harm with before it reads the
first byte. Standard input and output are files in memory. `api.uploads.child` starts it and judges how it ended.
"""

import contextlib
import hashlib
import io
import os
import resource
import struct
import sys
from typing import BinaryIO

from PIL import (
    Image,
    ImageOps,
    ImagePalette,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

IMPORTED_AHEAD = (ImagePalette, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""Pillow imports them when a file wants them (EXIF is TIFF, a phone's JPEG is MPO): too late for a confined process."""
BROKEN_STATUS = 65
"""Of sysexits.h, "the input data was incorrect"; the reason stands on standard output."""
MEMORY_STATUS = 71
TOO_LARGE_STATUS = 72
STREAMS = 3
"""Standard input, output and error: no further file can be opened."""
_COMPRESSION = 3
"""Of zlib: half the time of the default for a few percent more bytes."""
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})

# Sizes are checked from the header before Pillow sees a byte; its own limit warns instead of failing.
Image.MAX_IMAGE_PIXELS = None


class TooManyPixelsError(Exception):
    """Pillow reads another size from the file than its header says."""


def convert(data: bytes, wanted: str, max_pixels: int, output: BinaryIO) -> None:
    """Decode, turn upright, and write as PNG: RGB or RGBA, and without any metadata.

    Raises:
        TooManyPixelsError: more than allowed.
        Exception: decoders raise whatever they like on a file that is made to break them.
    """
    decoded(data, wanted, max_pixels).save(output, "PNG", compress_level=_COMPRESSION)


def identify(data: bytes, wanted: str, max_pixels: int, output: BinaryIO) -> None:
    """Write the SHA-256, in hex, of height, width and RGB bytes: `worker.quality.pixels_hash`, which is not ours here.

    Raises:
        Exception: as `convert`.
    """
    picture = decoded(data, wanted, max_pixels).convert("RGB")
    digest = hashlib.sha256(struct.pack("!II", picture.height, picture.width))
    digest.update(picture.tobytes())
    output.write(digest.hexdigest().encode())


def decoded(data: bytes, wanted: str, max_pixels: int) -> Image.Image:
    """The pixels alone."""
    with Image.open(io.BytesIO(data), formats=(wanted,)) as opened:
        if opened.width * opened.height > max_pixels:
            raise TooManyPixelsError
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)
        transparent = opened.mode in _ALPHA_MODES or "transparency" in opened.info
        plain = _eight_bits(opened).convert("RGBA" if transparent else "RGB")
    # What Pillow would write into the PNG besides the pixels: profile, text, resolution.
    plain.info = {}
    return plain


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit: `convert` would cut off everything above 255."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image


def confine(memory_bytes: int, cpu_seconds: int, output_bytes: int) -> None:
    """Give up, for good: more memory, more time, core dumps, further files, further processes, a long answer."""
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: output_bytes,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: STREAMS,
    }
    for limit, most in limits.items():
        _, hard = resource.getrlimit(limit)
        # At the soft limit of time comes SIGXCPU, which says what happened; at the hard one only SIGKILL.
        above = most + 1 if limit == resource.RLIMIT_CPU else most
        above = above if hard == resource.RLIM_INFINITY else min(above, hard)
        resource.setrlimit(limit, (min(most, above), above))


def main(wanted: str, *given: str) -> int:
    """Decode what is on standard input; the exit status tells how that went."""
    work = identify if given[-1] == "hash" else convert
    max_pixels, *limits = (int(text) for text in given if text != "hash")
    Image.preinit()
    confine(*limits)
    try:
        work(sys.stdin.buffer.read(), wanted, max_pixels, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except MemoryError:
        return MEMORY_STATUS
    except TooManyPixelsError:
        return TOO_LARGE_STATUS
    except Exception as error:  # noqa: BLE001  # see `convert`
        _answer(type(error).__name__)
        return BROKEN_STATUS
    return 0


def _answer(reason: str) -> None:
    """Instead of the picture, of which a part may be there."""
    with contextlib.suppress(OSError):
        os.ftruncate(1, 0)
        os.pwrite(1, reason.encode(), 0)


if __name__ == "__main__":
    # At once: what is left in buffers is half a picture, and there is nothing to clean up.
    os._exit(main(*sys.argv[1:]))
