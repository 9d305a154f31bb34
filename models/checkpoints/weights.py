"""The header of a safetensors file, held against the file: what it says must be there, and nothing may be left over.

The format: eight bytes with the header's length, the header in JSON, the tensors' bytes without holes or overlaps
(https://huggingface.co/docs/safetensors). The library that loads it checks the same; here nothing is loaded.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

MAX_HEADER_BYTES = 100_000_000
"""As the library has it."""
_PREFIX_BYTES = 8
_METADATA = "__metadata__"
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


_FLOATS = frozenset(name for name in _BITS if name.startswith(("F", "BF")))


class BadWeightsError(ValueError):
    """The file is no safetensors file, or lies about what it holds."""


def check_weights(path: Path) -> None:
    """Read the header alone.

    Raises:
        BadWeightsError: says what is wrong.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header, header_bytes = _header(stream, size)
    spans = sorted(_span(name, entry) for name, entry in header.items() if name != _METADATA)
    end = 0
    for begin, after in spans:
        if begin != end:
            raise BadWeightsError("its tensors overlap or leave holes")
        end = after
    if _PREFIX_BYTES + header_bytes + end != size:
        raise BadWeightsError(f"its header tells of {end} bytes, and there are {size - _PREFIX_BYTES - header_bytes}")


def loaded_bytes(path: Path, float_bytes: int) -> int:
    """What the file takes in memory when its floating-point numbers become ones of so many bytes each.

    Raises:
        BadWeightsError: it is no safetensors file.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header, _ = _header(stream, size)
    for name, entry in header.items():
        if name == _METADATA:
            continue
        begin, after = _span(name, entry)
        if entry["dtype"] in _FLOATS:
            size += math.prod(entry["shape"]) * float_bytes - (after - begin)
    return size


def _header(stream: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    if size < _PREFIX_BYTES:
        raise BadWeightsError("it is too short")
    (length,) = struct.unpack("<Q", stream.read(_PREFIX_BYTES))
    if length > min(MAX_HEADER_BYTES, size - _PREFIX_BYTES):
        raise BadWeightsError("its header is longer than the file, or than a header may be")
    try:
        found = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        raise BadWeightsError("its header is no JSON") from error
    if not isinstance(found, dict):
        raise BadWeightsError("its header is no JSON object")
    return found, length


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes begin and end, if they are as many as its type and shape say."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            sizes_fit = all(type(side) is int and side >= 0 for side in shape)
            if (
                dtype in _BITS
                and sizes_fit
                and 0 <= begin <= end
                and math.prod(shape) * _BITS[dtype] == 8 * (end - begin)
            ):
                return begin, end
    raise BadWeightsError(f"the entry of its tensor {name[:100]!r} does not fit")
