"""A folder of pictures as a zip: what `upload` sends when it is given a folder.  The same files give the same bytes."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from safelight.client.errors import LocalFileError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
METADATA_NAME = "metadata.jsonl"
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say."""
_CHUNK_BYTES = 1 << 20


def pack(folder: Path, to: IO[bytes]) -> int:
    """Write the pictures and tables below a folder into a zip; how many pictures.  Links are not followed.

    Raises:
        LocalFileError: there is no picture.  OSError: a file cannot be read.
    """
    count = 0
    with zipfile.ZipFile(to, "w") as packed:
        for name, path in sorted(_wanted(folder)):
            count += path.suffix.lower() in SUFFIXES
            entry = zipfile.ZipInfo(name, FIRST_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED if path.name == METADATA_NAME else zipfile.ZIP_STORED
            with path.open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
    if not count:
        raise LocalFileError(f"{folder}: there is no picture in this folder ({', '.join(sorted(SUFFIXES))}).")
    return count


def _wanted(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            known = path.suffix.lower() in SUFFIXES or name == METADATA_NAME
            if known and not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path
