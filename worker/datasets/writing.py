"""A data set to be written: an ImageFolder as a zip, with a `metadata.jsonl`. The same pictures give the same bytes."""

import io
import json
import re
import zipfile
from typing import IO, Any, Literal

from PIL import Image

from models.data_sets.layout import METADATA_NAME
from worker.datasets.decoding import Pixels

PictureFormat = Literal["png", "jpeg", "webp"]
SUFFIXES: dict[str, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
ENCODINGS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True, "method": 4},
}
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say: when a data set was made must not change its bytes."""
UNIX, REGULAR_FILE = 3, 0o100644
MAX_PART_CHARACTERS = 80


class DataSetWriter:
    """Writes into a stream. Add pictures in a fixed order, then close."""

    def __init__(self, stream: IO[bytes], picture_format: PictureFormat = "png") -> None:
        self._zip = zipfile.ZipFile(stream, "w")
        self._stream = stream
        self._format = picture_format
        self._taken: set[str] = set()
        self._rows: list[str] = []

    @property
    def size_bytes(self) -> int:
        """Written by now."""
        return self._stream.tell()

    def add(
        self, pixels: Pixels, *, stem: str, split: str, class_name: str | None = None, caption: str | None = None
    ) -> str:
        """Encode and write a picture; its name in the zip, made of what is given and changed where it must be."""
        folders = [_part(split)] + ([_part(class_name)] if class_name else [])
        name = self._free("/".join([*folders, _part(stem)]))
        self._write(name, encode(pixels, self._format), zipfile.ZIP_STORED)
        row = {"file_name": name, "split": split, "label": class_name, "text": caption}
        said = {key: value for key, value in row.items() if value is not None}
        self._rows.append(json.dumps(said, ensure_ascii=False, sort_keys=True))
        return name

    def close(self) -> None:
        """Write the table and the list of contents."""
        self._write(METADATA_NAME, ("\n".join(self._rows) + "\n").encode(), zipfile.ZIP_DEFLATED)
        self._zip.close()

    def _free(self, wanted: str) -> str:
        suffix, number, name = SUFFIXES[self._format], 1, wanted
        while name in self._taken:
            number += 1
            name = f"{wanted}-{number}"
        self._taken.add(name)
        return f"{name}.{suffix}"

    def _write(self, name: str, body: bytes, method: int) -> None:
        entry = zipfile.ZipInfo(name, FIRST_DATE)
        entry.compress_type, entry.create_system, entry.external_attr = method, UNIX, REGULAR_FILE << 16
        self._zip.writestr(entry, body)


def encode(pixels: Pixels, picture_format: PictureFormat) -> bytes:
    """PNG and WebP keep every pixel; JPEG is of quality 95 without subsampling."""
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, picture_format.upper(), **ENCODINGS[picture_format])
    return body.getvalue()


def _part(text: str) -> str:
    """As the name of a file or a folder."""
    safe = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:MAX_PART_CHARACTERS]
    return safe or "picture"
