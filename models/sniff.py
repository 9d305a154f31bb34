"""What a file says it is, by its first bytes: the format and the size, read without a decoder.

Decoders allocate by these numbers (Pillow's WebP does so when it merely opens a file), so they are checked first.
Formats: PNG (W3C, section 11.2.1), JPEG (ITU-T T.81, B.2.2), WebP (RFC 9649).
"""

import struct
from dataclasses import dataclass

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the three left out are tables."""
_MARK = 0xFF
_LOSSLESS = 0x2F
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Header:
    """A format by Pillow's name, and the size in pixels."""

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height


def sniff(data: bytes) -> Header | None:
    """The header, or None for anything that is no PNG, JPEG or WebP, or too broken to say its size."""
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(_JPEG):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        return None
    return None


def _png(data: bytes) -> Header | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return Header("PNG", width, height)


def _jpeg(data: bytes) -> Header | None:
    position = 2
    while position + 4 <= len(data):
        if data[position] != _MARK:
            return None
        marker = data[position + 1]
        if marker == _MARK:  # fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return Header("JPEG", width, height)
        elif marker in {0xD9, 0xDA}:  # the end, or pixels before any frame
            return None
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            position += 2 + max(length, 2)
    return None


def _webp(data: bytes) -> Header | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return Header("WEBP", 1 + _int24(data, 24), 1 + _int24(data, 27))
    if kind == b"VP8L" and data[20] == _LOSSLESS:
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WEBP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WEBP", width & 0x3FFF, height & 0x3FFF)
    return None


def _int24(data: bytes, offset: int) -> int:
    return data[offset] | data[offset + 1] << 8 | data[offset + 2] << 16
