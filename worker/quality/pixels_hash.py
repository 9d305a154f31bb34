"""The identity of a picture: a hash of what is seen, whatever file holds it."""

import hashlib
import struct

import numpy as np
import numpy.typing as npt


def pixels_hash(picture: npt.NDArray[np.uint8]) -> str:
    """SHA-256, in hex, of height and width (big-endian, 32 bits each) and the RGB bytes of `(H, W, 3)` uint8.

    A PNG, a lossless WebP and a PNG with other metadata of one picture agree; one changed pixel does not.

    Raises:
        ValueError: not `(H, W, 3)` uint8.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:  # noqa: PLR2004  # rank and RGB
        raise ValueError(f"a picture is (H, W, 3) uint8, not {picture.shape} {picture.dtype}")
    digest = hashlib.sha256(struct.pack("!II", *picture.shape[:2]))
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
