"""The multipart form of an upload, its file on a disk: never in memory, and never more of it than its kind may have."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from flask import request
from werkzeug.formparser import FormDataParser

from api.slots import Slot, Slots
from api.uploads.data_sets import MEDIA_TYPES as ZIP_TYPES
from models.artifacts import UploadKind
from models.errors import (
    FieldError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
    ValidationFailedError,
)
from models.settings import Settings

FORM_OVERHEAD_BYTES = 64 << 10
"""What the multipart form needs besides the file."""


@dataclass(frozen=True)
class Received:
    """A whole file, at its beginning. Gone when its block ends."""

    kind: UploadKind
    stream: IO[bytes]
    size_bytes: int
    sha256: str


class _Bounded:
    """A temporary file that takes so many bytes and no more; what werkzeug writes a part into."""

    def __init__(self, kind: UploadKind, max_bytes: int) -> None:
        self.kind = kind
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.digest = hashlib.sha256()
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="safelight-upload-")  # noqa: SIM115  # closed by its block

    def write(self, data: bytes) -> int:
        self.size_bytes += len(data)
        if self.size_bytes > self.max_bytes:
            raise TooLargeError(f"At most {self.max_bytes} bytes are taken of a {self.kind.words}.")
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            raise UnavailableError("There is no room for the upload now; try again later.") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def largest(settings: Settings, kind: UploadKind) -> int:
    """The most bytes that a file of a kind may have."""
    return settings.max_upload_bytes if kind is UploadKind.PICTURE else settings.max_data_set_bytes


def archive_slot(archives: Slots) -> Slot:
    """A place for one more data set.

    Raises:
        UnavailableError: all are taken.
    """
    if (slot := archives.take()) is None:
        raise UnavailableError("Too many data sets are on their way now; try again in a moment.")
    return slot


@contextmanager
def received(settings: Settings, archives: Slots) -> Iterator[Received]:
    """The one file of the request's form. The type of its part says whether it is a data set.

    Raises:
        UnsupportedMediaError, TooLargeError, ValidationFailedError: not that form, too large, or other parts.
        UnavailableError: too many data sets are on their way, or there is no room.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaError("Send a multipart form with the picture or the zip in its part `file`.")
    request.max_content_length = max(settings.max_upload_bytes, settings.max_data_set_bytes) + FORM_OVERHEAD_BYTES
    with ExitStack() as stack:
        files: list[_Bounded] = []

        def begin(
            total_content_length: int | None,  # noqa: ARG001  # werkzeug gives four
            content_type: str | None,
            filename: str | None = None,  # noqa: ARG001
            content_length: int | None = None,  # noqa: ARG001
        ) -> Any:
            kind = UploadKind.PICTURE
            if (content_type or "").partition(";")[0].strip().lower() in ZIP_TYPES:
                kind = UploadKind.DATA_SET
                stack.enter_context(archive_slot(archives))
            files.append(_Bounded(kind, largest(settings, kind)))
            stack.callback(files[-1].file.close)
            return files[-1]

        parser = FormDataParser(begin, request.max_form_memory_size, max_form_parts=request.max_form_parts)
        options = request.mimetype_params
        _, form, parts = parser.parse(request.stream, request.mimetype, request.content_length, options)
        unknown = [name for name in (*form, *parts) if name != "file"]
        if unknown:
            found = [FieldError(f"/{name}", "extra_forbidden", "Send the part `file` alone.") for name in unknown]
            raise ValidationFailedError(found)
        if len(files) != 1:
            raise ValidationFailedError([FieldError("/file", "repeated" if files else "missing", "Send one file.")])
        file = files[0]
        file.file.seek(0)
        yield Received(file.kind, file.file, file.size_bytes, file.digest.hexdigest())
