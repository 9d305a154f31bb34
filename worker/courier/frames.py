"""What the worker and its courier say to each other: length-prefixed frames down the pipe, one JSON line back.

A frame is two big-endian lengths, a JSON header, and the pixels of all pictures one after the other, as they are.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from io import BufferedIOBase, RawIOBase
from typing import Any
from uuid import UUID

from models.jobs import Hold
from models.params import OutputFormat

LENGTHS = struct.Struct("!IQ")
MAX_HEAD_BYTES = 1 << 20
PARCELS_AT_ONCE = 4
"""A courier works on so many, in the order in which they came."""


class BrokenFrameError(ValueError):
    """What came down the pipe is no frame: the two ends do not understand each other, and neither can go on."""


@dataclass(frozen=True)
class PictureHead:
    """One picture of a parcel; its pixels are (height, width, 3) uint8 RGB."""

    index: int
    seed: int
    width: int
    height: int

    @property
    def size_bytes(self) -> int:
        """Of the raw pixels."""
        return self.width * self.height * 3


@dataclass(frozen=True)
class Parcel:
    """All pictures of one attempt, to be stored and then published together."""

    hold: Hold
    output_format: OutputFormat
    pictures: tuple[PictureHead, ...]
    measures: dict[str, Any]


@dataclass(frozen=True)
class Drop:
    """The attempt is no longer wanted (canceled, lost): do not go on with it."""

    hold: Hold


class Delivery(StrEnum):
    """How a parcel ended."""

    PUBLISHED = "published"
    """The job succeeded, by this parcel or by an earlier copy of it."""
    FENCED = "fenced"
    """Somebody else owns the job now; the pictures became garbage."""
    FAILED = "failed"
    """It could not be stored; the attempt was failed with a typed error."""
    DROPPED = "dropped"
    """As the worker asked."""
    CRASHED = "crashed"
    """Never sent: what the worker's end says of a parcel during which couriers kept dying."""
    GIVEN_UP = "given_up"
    """Postgres did not answer for so long that the lease must be gone."""


@dataclass(frozen=True)
class Receipt:
    """The courier's answer: the worker may forget the pixels."""

    hold: Hold
    delivery: Delivery


def head_of(message: Parcel | Drop) -> bytes:
    """The JSON header of a frame."""
    if isinstance(message, Drop):
        return json.dumps({"drop": _from_hold(message.hold)}).encode()
    head = {
        "parcel": _from_hold(message.hold),
        "format": message.output_format.value,
        "pictures": [asdict(picture) for picture in message.pictures],
        "measures": message.measures,
    }
    return json.dumps(head).encode()


def write_frame(stream: RawIOBase, message: Parcel | Drop, pixels: Sequence[memoryview] = ()) -> None:
    """Send one frame. The pixels are neither copied nor pickled."""
    head = head_of(message)
    body_bytes = sum(part.nbytes for part in pixels)
    for part in (memoryview(LENGTHS.pack(len(head), body_bytes) + head), *pixels):
        _write_all(stream, part)


def read_frame(stream: BufferedIOBase) -> tuple[Parcel | Drop, memoryview] | None:
    """The next frame, or None when the worker has gone, even in the middle of one.

    Raises:
        BrokenFrameError: the head is none, or its pictures are not as large as the body.
    """
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_bytes, body_bytes = LENGTHS.unpack(lengths)
    if head_bytes > MAX_HEAD_BYTES:
        raise BrokenFrameError(f"a head of {head_bytes} bytes")
    head = stream.read(head_bytes)
    if len(head) < head_bytes:
        return None
    message = _parse_head(head)
    told = sum(picture.size_bytes for picture in message.pictures) if isinstance(message, Parcel) else 0
    if body_bytes != told:
        raise BrokenFrameError(f"{body_bytes} bytes of pixels, where the head tells of {told}")
    body = memoryview(bytearray(body_bytes))
    filled = 0
    while filled < body_bytes:
        count = stream.readinto(body[filled:])
        if not count:
            return None
        filled += count
    return message, body


def write_receipt(receipt: Receipt) -> bytes:
    """One line of JSON."""
    return json.dumps({"hold": _from_hold(receipt.hold), "delivery": receipt.delivery.value}).encode() + b"\n"


def read_receipt(line: bytes) -> Receipt:
    """The reverse of `write_receipt`."""
    found = json.loads(line)
    return Receipt(_to_hold(found["hold"]), Delivery(found["delivery"]))


def _parse_head(raw: bytes) -> Parcel | Drop:
    try:
        head = json.loads(raw)
        if "drop" in head:
            return Drop(_to_hold(head["drop"]))
        return Parcel(
            hold=_to_hold(head["parcel"]),
            output_format=OutputFormat(head["format"]),
            pictures=tuple(_to_picture(**picture) for picture in head["pictures"]),
            measures=dict(head["measures"]),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise BrokenFrameError(f"a head that is none: {type(error).__name__}") from error


def _to_picture(index: int, seed: int, width: int, height: int) -> PictureHead:
    if any(type(number) is not int for number in (index, seed, width, height)) or min(width, height) < 1:
        raise TypeError("a picture has whole numbers, and a size")
    return PictureHead(index, seed, width, height)


def _write_all(stream: RawIOBase, part: memoryview) -> None:
    rest = part
    while rest.nbytes:
        rest = rest[stream.write(rest) or 0 :]


def _from_hold(hold: Hold) -> list[Any]:
    return [str(hold.job_id), hold.attempt, hold.owner]


def _to_hold(raw: list[Any]) -> Hold:
    return Hold(UUID(raw[0]), int(raw[1]), str(raw[2]))
