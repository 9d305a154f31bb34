"""Bytes between storage and this machine's files: whole, checked, and never half a file under the final name."""

import hashlib
import mimetypes
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urljoin

import httpx

from safelight.client.errors import ApiUnreachableError, CorruptDownloadError, LocalFileError
from safelight.client.folders import pack
from safelight.client.transport import Request, Transport, storage_refusal
from safelight.client.values import Artifact, Job

Part = tuple[str, IO[bytes], str]
"""Of a multipart form: name, open file, media type."""
SHORT_ID = 8
ZIP = "application/zip"


def destinations(job: Job, to: Path) -> list[tuple[Artifact, Path]]:
    """Where each picture of a job goes: into a folder by its own name, or under a file name, numbered if several."""
    if is_folder(to):
        tail = job.id.replace("-", "")[-SHORT_ID:]  # an id begins with the time: its end tells jobs apart
        return [(artifact, to / f"{tail}-{artifact.index}{artifact.suffix}") for artifact in job.artifacts]
    if len(job.artifacts) == 1:
        return [(job.artifacts[0], to)]
    return [(artifact, to.with_stem(f"{to.stem}-{artifact.index}")) for artifact in job.artifacts]


def is_folder(to: Path) -> bool:
    """An existing folder, or a name without a suffix."""
    return to.is_dir() or not to.suffix


def download(transport: Transport, artifact: Artifact, to: Path) -> Path:
    """Fetch one artifact to the file `to`, replacing it in one step.

    Raises:
        CorruptDownloadError: the hash is wrong.  LocalFileError.  ApiError, ApiUnreachableError.
    """
    policy, began, attempt = transport.policy, time.monotonic(), 0
    while True:
        attempt += 1
        try:
            return _download_once(transport, artifact, to)
        except (ApiUnreachableError, _StorageRefusedError) as error:
            # The presigned URL may have run out meanwhile: each try asks for a new one.
            pause = policy.next_delay(attempt, time.monotonic() - began)
            if pause is None:
                raise error.shown if isinstance(error, _StorageRefusedError) else error from None
            transport.sleep(pause)


@contextmanager
def upload_part(path: Path) -> Iterator[Part]:
    """A multipart field: the open file, or a folder of pictures packed into a zip.  Raises LocalFileError."""
    with ExitStack() as stack:
        with _mapped(path):
            if path.is_dir():
                file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(prefix="safelight-"))
                pack(path, file)
                name, kind = f"{path.resolve().name}.zip", ZIP
            else:
                file = stack.enter_context(path.open("rb"))
                name, kind = path.name, mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        yield name, file, kind


def size_of(part: Part) -> int:
    """Bytes of the open file."""
    size = part[1].seek(0, os.SEEK_END)
    part[1].seek(0)
    return size


class _StorageRefusedError(Exception):
    """The storage answered with an error; `shown` is what a caller sees when it stays so."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.shown = storage_refusal(response)


def _download_once(transport: Transport, artifact: Artifact, to: Path) -> Path:
    answer = transport.send(Request("GET", f"/artifacts/{artifact.id}/content"))
    if not answer.is_redirect:
        return _write(artifact, to, iter([answer.content]))
    with transport.stream_storage(urljoin(str(answer.url), answer.headers["Location"])) as response:
        if not response.is_success:
            raise _StorageRefusedError(response)
        return _write(artifact, to, response.iter_bytes())


def _write(artifact: Artifact, to: Path, pieces: Iterator[bytes]) -> Path:
    draft, digest = to.with_name(f".{to.name}.{uuid.uuid4().hex}.part"), hashlib.sha256()
    with _mapped(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            if artifact.sha256 and digest.hexdigest() != artifact.sha256:
                raise CorruptDownloadError(
                    f"Artifact {artifact.id} came with SHA-256 {digest.hexdigest()}, and the API names "
                    f"{artifact.sha256}. Nothing was written to {to}."
                )
            os.replace(draft, to)  # noqa: PTH105  says what it does
        finally:
            draft.unlink(missing_ok=True)
    return to


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalFileError(f"{path}: {error.strerror or error}") from error
