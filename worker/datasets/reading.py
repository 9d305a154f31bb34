"""A data set to be read: its pictures one by one, in the order of their names, without all of them in memory."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.data_sets import Archive, Bounds, BrokenMemberError, Member, RefusedArchiveError
from models.errors import InvalidInputError
from worker.datasets.decoding import Pixels, UnusablePictureError, decode

MAX_PICTURE_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 4 << 30
MAX_PICTURES = 200_000
"""More than any upload: what a job made of one may have its pictures mirrored."""


@dataclass(frozen=True)
class Sample:
    """One picture, `(H, W, 3)` uint8 RGB, and what is known of it."""

    member: Member
    pixels: Pixels


@dataclass(frozen=True)
class Unusable:
    """One that cannot be used, and why: a word, and a sentence."""

    member: Member
    reason: str
    detail: str


class DataSet:
    """An open zip of pictures. `max_pixels` is of one picture."""

    def __init__(self, body: bytes, max_pixels: int) -> None:
        """Read the list of contents.

        Raises:
            InvalidInputError: this is no data set.
        """
        self.max_pixels = max_pixels
        try:
            self._archive = Archive(io.BytesIO(body), Bounds(MAX_PICTURES, MAX_UNPACKED_BYTES, MAX_PICTURE_BYTES))
        except RefusedArchiveError as error:
            raise InvalidInputError(f"This is no data set: {error}", reason=error.code) from error

    @property
    def members(self) -> Sequence[Member]:
        """By name."""
        return self._archive.members

    def pixels(self, member: Member) -> Pixels:
        """Decode one.

        Raises:
            UnusablePictureError: it cannot be.
        """
        try:
            return decode(self._archive.read(member.name), self.max_pixels)
        except BrokenMemberError as error:
            raise UnusablePictureError("broken", str(error)) from error

    def samples(self, members: Sequence[Member] | None = None) -> Iterator[Sample | Unusable]:
        """Each of them (or of these), decoded when it is asked for."""
        for member in self.members if members is None else members:
            try:
                yield Sample(member, self.pixels(member))
            except UnusablePictureError as error:
                yield Unusable(member, error.reason, str(error))
