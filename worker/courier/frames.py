"""What the worker and its courier say to each other: length-prefixed frames down the pipe, one JSON line back.

A frame is two big-endian lengths, a JSON header, and a body: the pixels of all pictures one after the other as they
are, then the bytes of all files.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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
class FileHead:
    """A file of a parcel: an artifact with a name, or part of a checkpoint that the attempt trained."""

    name: str
    media_type: str
    size_bytes: int
    index: int | None = None
    """None for a part of the checkpoint, whose name is its relative path."""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Stamp:
    """What the files of a parcel say of themselves."""

    checkpoint: str
    revision: str
    edited: bool = False
    """Made from a picture that was given."""
    prompt: str | None = None
    """Only when the client wants it in there."""


@dataclass(frozen=True)
class Parcel:
    """All outputs of one attempt, to be stored and then published together."""

    hold: Hold
    output_format: OutputFormat
    pictures: tuple[PictureHead, ...]
    measures: dict[str, Any]
    files: tuple[FileHead, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    """What the job's result says beside its artifacts."""
    stamp: Stamp | None = None
    safety_threshold: float | None = None
    """Pictures that reach it are withheld."""
    reproduces: UUID | None = None
    """The job whose pictures these are compared with."""
    trained: dict[str, Any] | None = None
    """The registration of the checkpoint whose parts are among the files, as JSON."""

    @property
    def size_bytes(self) -> int:
        """Of the frame's body."""
        parts: tuple[PictureHead | FileHead, ...] = (*self.pictures, *self.files)
        return sum(part.size_bytes for part in parts)


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
        "files": [asdict(file) for file in message.files],
        "result": message.result,
        "stamp": asdict(message.stamp) if message.stamp else None,
        "safety_threshold": message.safety_threshold,
        "reproduces": str(message.reproduces) if message.reproduces else None,
        "trained": message.trained,
    }
    return json.dumps(head).encode()


def write_frame(stream: RawIOBase, message: Parcel | Drop, pixels: Sequence[memoryview] = ()) -> None:
    """Send one frame. The body is neither copied nor pickled."""
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
    told = message.size_bytes if isinstance(message, Parcel) else 0
    if body_bytes != told:
        raise BrokenFrameError(f"a body of {body_bytes} bytes, where the head tells of {told}")
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
            files=tuple(_to_file(**file) for file in head["files"]),
            result=dict(head["result"]),
            stamp=Stamp(**head["stamp"]) if head["stamp"] is not None else None,
            safety_threshold=head["safety_threshold"],
            reproduces=UUID(head["reproduces"]) if head["reproduces"] is not None else None,
            trained=head["trained"],
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise BrokenFrameError(f"a head that is none: {type(error).__name__}") from error


def _to_picture(index: int, seed: int, width: int, height: int) -> PictureHead:
    if any(type(number) is not int for number in (index, seed, width, height)) or min(width, height) < 1:
        raise TypeError("a picture has whole numbers, and a size")
    return PictureHead(index, seed, width, height)


def _to_file(**fields: Any) -> FileHead:
    file = FileHead(**fields)
    if type(file.size_bytes) is not int or file.size_bytes < 0:
        raise TypeError("a file has a size")
    return file


def _write_all(stream: RawIOBase, part: memoryview) -> None:
    rest = part
    while rest.nbytes:
        rest = rest[stream.write(rest) or 0 :]


def _from_hold(hold: Hold) -> list[Any]:
    return [str(hold.job_id), hold.attempt, hold.owner]


def _to_hold(raw: list[Any]) -> Hold:
    return Hold(UUID(raw[0]), int(raw[1]), str(raw[2]))
