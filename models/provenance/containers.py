"""Where an XMP packet sits in a PNG, JPEG, WebP, GIF or MP4, and how it gets there without touching a pixel.

Adobe, "XMP Specification Part 3: Storage in Files", 2020. Nothing is decoded. What is read may be anybody's bytes: no
offset is believed before it is checked, and a file of very many parts is given up.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_PACKET_BYTES = 65_502
"""What one JPEG segment holds. Larger packets are neither written nor read, whatever the container."""
MAX_PARTS = 20_000
"""Chunks, segments or boxes that are walked through: a large PNG has hundreds."""

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
PNG_KEYWORD = b"XML:com.adobe.xmp\0"
JPEG_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
GIF_HEAD = b"\x21\xff\x0bXMP DataXMP"
GIF_TAIL = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Whoever reads the packet as GIF's counted blocks lands somewhere in here, and is led to the end."""
MP4_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")

_WEBP_EXTENDED, _WEBP_ALPHA, _WEBP_XMP = 10, 0x10, 0x04
_GIF_EXTENSION = 0x21


@dataclass(frozen=True)
class Part:
    """A chunk, segment or box: where it begins and ends, and where what it carries does."""

    kind: bytes
    start: int
    end: int
    payload: int


def find_xmp(body: bytes) -> bytes | None:
    """The packet of a file of any of the five kinds; None when there is none, or no such file. Never raises."""
    for container in _CONTAINERS.values():
        if container.is_one(body):
            found = container.locate(body)
            return found[1] if found and len(found[1]) <= MAX_PACKET_BYTES else None
    return None


def put_xmp(body: bytes, media_type: str, packet: bytes) -> bytes:
    """The same file with this packet, in place of the one that it may have.

    Raises:
        ValueError: no file of this media type, a broken one, or a packet that does not fit.
    """
    container = _CONTAINERS.get(media_type)
    if container is None or not container.is_one(body):
        raise ValueError(f"not a file that could carry XMP as {media_type}")
    if len(packet) > MAX_PACKET_BYTES:
        raise ValueError(f"a packet of {len(packet)} bytes")
    if found := container.locate(body):
        body = body[: found[0].start] + body[found[0].end :]
    made = container.insert(body, packet)
    found = container.locate(made)
    if found is None or found[1] != packet:
        raise ValueError(f"a broken file: what is put into it as {media_type} is not found again")
    return made


def _png_parts(body: bytes) -> Iterator[Part]:
    start = len(PNG_HEAD)
    while start + 12 <= len(body):
        (length,) = struct.unpack_from("!I", body, start)
        end = start + 12 + length
        if end > len(body):
            return
        yield Part(body[start + 4 : start + 8], start, end, start + 8)
        start = end


def _png_locate(body: bytes) -> tuple[Part, bytes] | None:
    for part in _some(_png_parts(body)):
        data = body[part.payload : part.end - 4]
        if part.kind == b"iTXt" and data.startswith(PNG_KEYWORD + b"\0"):
            fields = data[len(PNG_KEYWORD) + 2 :].split(b"\0", 2)  # language, translated keyword, text
            return (part, fields[2]) if len(fields) == 3 else None  # noqa: PLR2004
    return None


def _png_insert(body: bytes, packet: bytes) -> bytes:
    data = b"iTXt" + PNG_KEYWORD + b"\0\0\0\0" + packet
    chunk = struct.pack("!I", len(data) - 4) + data + struct.pack("!I", zlib.crc32(data))
    after_header = next(_png_parts(body)).end
    return body[:after_header] + chunk + body[after_header:]


def _jpeg_parts(body: bytes) -> Iterator[Part]:
    """The segments before the first scan."""
    start = 2
    while start + 4 <= len(body) and body[start] == 0xFF:  # noqa: PLR2004  # every marker begins so
        kind, (length,) = body[start + 1 : start + 2], struct.unpack_from("!H", body, start + 2)
        end = start + 2 + length
        if kind == b"\xda" or length < 2 or end > len(body):  # noqa: PLR2004  # a length counts itself
            return
        yield Part(kind, start, end, start + 4)
        start = end


def _jpeg_locate(body: bytes) -> tuple[Part, bytes] | None:
    for part in _some(_jpeg_parts(body)):
        if part.kind == b"\xe1" and body.startswith(JPEG_HEAD, part.payload):
            return part, body[part.payload + len(JPEG_HEAD) : part.end]
    return None


def _jpeg_insert(body: bytes, packet: bytes) -> bytes:
    data = JPEG_HEAD + packet
    segment = b"\xff\xe1" + struct.pack("!H", len(data) + 2) + data
    first = next(_jpeg_parts(body), None)
    at = first.end if first and first.kind == b"\xe0" else 2  # JFIF's own segment stays the first
    return body[:at] + segment + body[at:]


def _riff_parts(body: bytes) -> Iterator[Part]:
    start = 12
    while start + 8 <= len(body):
        (length,) = struct.unpack_from("<I", body, start + 4)
        end = start + 8 + length
        if end > len(body):
            return
        # Chunks of an odd length are followed by a byte that is not counted.
        yield Part(body[start : start + 4], start, min(end + length % 2, len(body)), start + 8)
        start = end + length % 2


def _webp_locate(body: bytes) -> tuple[Part, bytes] | None:
    for part in _some(_riff_parts(body)):
        if part.kind == b"XMP ":
            (length,) = struct.unpack_from("<I", body, part.start + 4)
            return part, body[part.payload : part.payload + length]
    return None


def _webp_insert(body: bytes, packet: bytes) -> bytes:
    first = next(_riff_parts(body), None)
    if first is None or first.end - first.payload < _WEBP_EXTENDED:
        raise ValueError("a WebP without its first chunk")
    if first.kind == b"VP8X":
        extended = bytearray(body[first.payload : first.payload + _WEBP_EXTENDED])
        rest = body[first.end :]
    else:
        extended, rest = _webp_extension(first, body), body[first.start :]
    extended[0] |= _WEBP_XMP
    chunks = _riff_chunk(b"VP8X", bytes(extended)) + rest + _riff_chunk(b"XMP ", packet)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _webp_extension(first: Part, body: bytes) -> bytearray:
    """What the extended header says of a file that has only one chunk: flags, and the size less one."""
    if first.kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, first.payload + 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bool(bits >> 28 & 1)
    else:
        width, height = ((side & 0x3FFF) - 1 for side in struct.unpack_from("<HH", body, first.payload + 6))
        alpha = False
    if first.kind not in {b"VP8 ", b"VP8L"} or min(width, height) < 0:
        raise ValueError("a WebP that begins with no picture")
    flags = struct.pack("<I", _WEBP_ALPHA if alpha else 0)
    return bytearray(flags + width.to_bytes(3, "little") + height.to_bytes(3, "little"))


def _riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _gif_start(body: bytes) -> int:
    """Where the blocks begin: after the head, the screen's size and the palette of all frames."""
    return 13 + (3 << (body[10] & 7) + 1 if body[10] & 0x80 else 0)


def _gif_locate(body: bytes) -> tuple[Part, bytes] | None:
    """Before the first frame, where `_gif_insert` puts it."""
    start, in_extension = _gif_start(body), False
    for _ in range(MAX_PARTS):
        if start >= len(body):
            return None
        if in_extension:
            in_extension = body[start] > 0
            start += 1 + body[start]
        elif body.startswith(GIF_HEAD, start):
            payload = start + len(GIF_HEAD)
            tail = body.find(GIF_TAIL, payload, payload + MAX_PACKET_BYTES + len(GIF_TAIL))
            return None if tail < 0 else (Part(b"XMP", start, tail + len(GIF_TAIL), payload), body[payload:tail])
        elif body[start] == _GIF_EXTENSION:
            start, in_extension = start + 2, True
        else:
            return None
    return None


def _gif_insert(body: bytes, packet: bytes) -> bytes:
    start = _gif_start(body)
    return b"GIF89a" + body[6:start] + GIF_HEAD + packet + GIF_TAIL + body[start:]


def _mp4_parts(body: bytes) -> Iterator[Part]:
    start = 0
    while start + 8 <= len(body):
        (length,), payload = struct.unpack_from("!I", body, start), start + 8
        if length == 1 and start + 16 <= len(body):
            (length,), payload = struct.unpack_from("!Q", body, start + 8), start + 16
        end = start + length if length else len(body)
        if end < payload or end > len(body):
            return
        yield Part(body[start + 4 : start + 8], start, end, payload)
        start = end


def _mp4_locate(body: bytes) -> tuple[Part, bytes] | None:
    for part in _some(_mp4_parts(body)):
        if part.kind == b"uuid" and body.startswith(MP4_UUID, part.payload):
            return part, body[part.payload + len(MP4_UUID) : part.end]
    return None


def _mp4_insert(body: bytes, packet: bytes) -> bytes:
    """At the end: the tables inside count bytes from the beginning."""
    if any(body[part.start : part.start + 4] == b"\0\0\0\0" for part in _some(_mp4_parts(body))):
        raise ValueError("an MP4 whose last box has no end")
    return body + struct.pack("!I", 8 + len(MP4_UUID) + len(packet)) + b"uuid" + MP4_UUID + packet


def _some(parts: Iterator[Part]) -> Iterator[Part]:
    return (part for _, part in zip(range(MAX_PARTS), parts, strict=False))


@dataclass(frozen=True)
class _Container:
    is_one: Callable[[bytes], bool]
    """By the head, and large enough for what `insert` reads."""
    locate: Callable[[bytes], tuple[Part, bytes] | None]
    insert: Callable[[bytes, bytes], bytes]


_CONTAINERS = {
    "image/png": _Container(
        lambda body: body.startswith(PNG_HEAD) and next(_png_parts(body), None) is not None, _png_locate, _png_insert
    ),
    "image/jpeg": _Container(lambda body: body.startswith(b"\xff\xd8"), _jpeg_locate, _jpeg_insert),
    "image/webp": _Container(
        lambda body: body.startswith(b"RIFF") and body[8:12] == b"WEBP" and len(body) >= 30,  # noqa: PLR2004
        _webp_locate,
        _webp_insert,
    ),
    "image/gif": _Container(
        lambda body: body.startswith((b"GIF87a", b"GIF89a")) and len(body) > 13,  # noqa: PLR2004
        _gif_locate,
        _gif_insert,
    ),
    "video/mp4": _Container(lambda body: body[4:8] == b"ftyp", _mp4_locate, _mp4_insert),
}
