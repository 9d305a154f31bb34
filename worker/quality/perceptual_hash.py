"""A perceptual hash: 64 bits that change little when a picture is scaled, recoloured a little or saved again."""

import numpy as np
import numpy.typing as npt

from models.errors import CheckpointUnavailableError

HASH_BITS = 64
NEAR_DUPLICATE_BITS = 8
"""Hashes at most so far apart are called near-duplicates. Two unrelated pictures differ in about 32 bits."""


def perceptual_hash(picture: npt.NDArray[np.uint8]) -> int:
    """The 64-bit DCT hash of `(H, W, 3)` uint8, as one whole number; the first frequency is the highest bit.

    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, in `imagehash.phash`'s form:
    luma at 32 × 32, the 8 × 8 lowest frequencies of its cosine transform, each against their median.

    Raises:
        CheckpointUnavailableError: `imagehash` is not installed.
    """
    try:
        import imagehash
    except ImportError as error:
        raise CheckpointUnavailableError(
            "Perceptual hashes need the package imagehash: pip install 'safelight[models]'."
        ) from error
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(picture)).hash
    return int("".join("1" if bit else "0" for bit in np.asarray(bits).ravel()), 2)


def hamming_distance(first: int, second: int) -> int:
    """In how many of 64 bits two hashes differ: 0 to 64."""
    return (first ^ second).bit_count()


def are_near_duplicates(first: int, second: int, within_bits: int = NEAR_DUPLICATE_BITS) -> bool:
    """Whether two pictures with these hashes look alike. A flat picture's hash says little: check sharpness too."""
    return hamming_distance(first, second) <= within_bits
