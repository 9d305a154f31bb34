"""The identity of a picture: a hash of what is seen, whatever file holds it. Starts without numpy, for the courier."""

import hashlib
import struct
from typing import Any

CHANNELS = 3


def pixels_hash(picture: Any) -> str:
    """SHA-256, in hex, of height and width (big-endian, 32 bits each) and the RGB bytes of `(H, W, 3)` uint8.

    Takes an array or any other buffer of that shape, e.g. `memoryview(raw).cast("B", (height, width, 3))`. A PNG, a
    lossless WebP and a PNG with other metadata of one picture agree; one changed pixel does not.

    Raises:
        ValueError: not `(H, W, 3)` uint8.
    """
    view = memoryview(picture)
    shape = view.shape or ()
    if view.format != "B" or len(shape) != 3 or shape[2] != CHANNELS:  # noqa: PLR2004  # height, width and RGB
        raise ValueError(f"a picture is (H, W, 3) uint8, not {shape} {view.format}")
    digest = hashlib.sha256(struct.pack("!II", *shape[:2]))
    digest.update(view if view.c_contiguous else view.tobytes())
    return digest.hexdigest()
