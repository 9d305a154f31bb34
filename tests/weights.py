"""Small safetensors files, written by hand: what a checkpoint's folder must hold to be taken."""

import json
from typing import Any


def weights(size_bytes: int = 64) -> bytes:
    """A file of exactly that size, without a tensor."""
    return framed(b"{}".ljust(size_bytes - 8))


def weights_of(data: bytes) -> bytes:
    """A file with one tensor, which holds these bytes."""
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    return file_that_says({"data": entry}, data)


def file_that_says(header: Any, data: bytes = b"") -> bytes:
    """A file with this header, whether it is true or not."""
    return framed(json.dumps(header).encode()) + data


def framed(header: bytes) -> bytes:
    """A header behind its length."""
    return len(header).to_bytes(8, "little") + header
