"""The zip itself: opened, looked through before anything in it is read, and read one picture at a time."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO

from models.data_sets import layout
from models.data_sets.layout import METADATA_NAME, Row, is_hidden, is_picture

MAX_NAME_CHARACTERS = 500
MAX_METADATA_BYTES = 32 << 20
MAX_RATIO = 200
"""Unpacked to packed bytes: pictures are packed already, and tables of captions shrink tenfold or so."""
RATIO_FROM_BYTES = 4 << 20
"""What is smaller than this may shrink as it likes."""
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1 | 0x40
_CHUNK_BYTES = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, struct.error)
"""What `zipfile` raises over bytes that are made to break it."""


class RefusedArchiveError(ValueError):
    """The zip is not taken at all. `code` is stable; the message says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BrokenMemberError(ValueError):
    """One picture of it cannot be unpacked; the others may be whole."""


@dataclass(frozen=True)
class Bounds:
    """How much a zip may hold. Bytes are unpacked ones."""

    pictures: int = 100_000
    total_bytes: int = 1 << 30
    picture_bytes: int = 32 << 20

    @property
    def entries(self) -> int:
        """Of any kind: folders and what is left out count too."""
        return 2 * self.pictures + 1000


@dataclass(frozen=True)
class Member:
    """One picture, not read yet."""

    name: str
    split: str | None = None
    class_name: str | None = None
    caption: str | None = None
    size_bytes: int = 0


class Archive:
    """The pictures of a zip. Not thread-safe; the stream stays the caller's."""

    def __init__(self, stream: IO[bytes], bounds: Bounds) -> None:
        """Read the directory and the tables of captions, and no picture.

        Raises:
            RefusedArchiveError: no zip, or one that is not taken.
        """
        self.bounds = bounds
        try:
            self._zip = zipfile.ZipFile(stream)
        except _BROKEN:
            raise RefusedArchiveError("not_a_zip", "This is no zip, or its end is missing.") from None
        entries = self._zip.infolist()
        _check_all(entries, bounds)
        files = [entry for entry in entries if not entry.is_dir() and not is_hidden(entry.filename)]
        self._infos = {entry.filename: entry for entry in files if is_picture(entry.filename)}
        tables = [entry for entry in files if entry.filename.rsplit("/", 1)[-1] == METADATA_NAME]
        if len(self._infos) > bounds.pictures:
            raise _refused("too_many_pictures", f"{len(self._infos)} pictures; at most {bounds.pictures} are taken.")
        self.ignored = len(files) - len(self._infos) - len(tables)
        """Files of other kinds, which are left out."""
        self.bad_rows = 0
        """Lines of metadata that say nothing that is understood, or name no picture."""
        rows = self._rows(tables)
        labels = layout.labels_of(self._infos, frozenset(row.split for row in rows.values() if row.split))
        self.members = tuple(
            _member(name, labels[name], rows.get(name, Row()), self._infos[name].file_size)
            for name in sorted(self._infos)
        )

    def read(self, name: str) -> bytes:
        """The file's bytes, checked against their CRC.

        Raises:
            BrokenMemberError: they are not whole, or more than a picture may have.
        """
        info = self._infos[name]
        if info.file_size > self.bounds.picture_bytes:
            raise BrokenMemberError(f"more than {self.bounds.picture_bytes} bytes")
        try:
            return self._unpack(info, self.bounds.picture_bytes)
        except _BROKEN as error:
            raise BrokenMemberError(f"it cannot be unpacked: {type(error).__name__}") from None

    def _unpack(self, info: zipfile.ZipInfo, most: int) -> bytes:
        """In pieces, so that what was declared is not believed before it is there."""
        parts, size = [], 0
        with self._zip.open(info) as stream:
            while part := stream.read(_CHUNK_BYTES):
                size += len(part)
                if size > most:
                    raise ValueError("longer than declared")
                parts.append(part)
        return b"".join(parts)

    def _rows(self, tables: Iterable[zipfile.ZipInfo]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for entry in tables:
            if entry.file_size > MAX_METADATA_BYTES:
                raise _refused("metadata_too_large", f"{entry.filename} has more than {MAX_METADATA_BYTES} bytes.")
            try:
                body = self._unpack(entry, MAX_METADATA_BYTES)
            except _BROKEN:
                raise _refused("broken_metadata", f"{entry.filename} cannot be unpacked.") from None
            rows, bad = layout.read_rows(body, entry.filename.rpartition("/")[0])
            known = {name: row for name, row in rows.items() if name in self._infos}
            found |= known
            self.bad_rows += bad + len(rows) - len(known)
        return found


def describe(members: Iterable[Member]) -> dict[str, Mapping[str, int] | int]:
    """How many pictures, of which classes and splits, and how many with a caption."""
    classes: dict[str, int] = {}
    splits: dict[str, int] = {}
    pictures = captions = 0
    for member in members:
        pictures += 1
        captions += member.caption is not None
        for counts, name in ((classes, member.class_name), (splits, member.split)):
            if name is not None:
                counts[name] = counts.get(name, 0) + 1
    classes, splits = dict(sorted(classes.items())), dict(sorted(splits.items()))
    return {"pictures": pictures, "classes": classes, "splits": splits, "captions": captions}


def _member(name: str, label: layout.Label, row: Row, size_bytes: int) -> Member:
    """What the table says goes before what the folders say."""
    return Member(name, row.split or label.split, row.class_name or label.class_name, row.caption, size_bytes)


def _check_all(entries: list[zipfile.ZipInfo], bounds: Bounds) -> None:
    if len(entries) > bounds.entries:
        raise _refused("too_many_entries", f"{len(entries)} entries; at most {bounds.entries} are taken.")
    seen: set[str] = set()
    packed = unpacked = 0
    for entry in entries:
        _check(entry)
        if entry.filename in seen:
            raise _refused("duplicate_name", f"{_shown(entry.filename)} is in it twice.")
        seen.add(entry.filename)
        packed += entry.compress_size
        unpacked += entry.file_size
    if unpacked > bounds.total_bytes:
        raise _refused("too_large_unpacked", f"{unpacked} bytes unpacked; at most {bounds.total_bytes} are taken.")
    if unpacked > max(RATIO_FROM_BYTES, MAX_RATIO * packed):
        raise _refused("compressed_too_far", f"It unpacks to more than {MAX_RATIO} times its size.")


def _check(entry: zipfile.ZipInfo) -> None:
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if (
        not name.isprintable()
        or len(name) > MAX_NAME_CHARACTERS
        or "\\" in name
        or parts[0].endswith(":")
        or any(part in {"", ".", ".."} for part in parts)
    ):
        raise _refused("unsafe_name", f"{_shown(name)}: names are relative, short, and without `..` or odd characters.")
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise _refused("special_file", f"{_shown(name)} is a link or another special file.")
    if entry.flag_bits & _ENCRYPTED:
        raise _refused("encrypted", f"{_shown(name)} is encrypted.")
    if entry.compress_type not in _METHODS:
        raise _refused("unknown_compression", f"{_shown(name)}: only stored and deflated files are taken.")


def _refused(code: str, message: str) -> RefusedArchiveError:
    return RefusedArchiveError(code, message)


def _shown(name: str) -> str:
    """Without what a terminal or a log would make something of."""
    return name[:100].encode("ascii", "backslashreplace").decode()
