"""The files of a checkpoint on this machine: fetched if they are elsewhere, and checked against the row's manifest.

Every file's SHA-256 is read once per process, and again only when its size or modification time changes.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import structlog

from models.checkpoints import Checkpoint, Source
from models.checkpoints.manifest import sha256_of
from models.errors import CheckpointUnavailableError, NotFoundError, TransientError
from models.settings import Settings
from models.storage import Storage
from worker.pipelines.base import CheckpointFiles

HUB_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""What is taken from a Hub repository: weights without code, and text."""
_HUB_LOCATION = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")

log = structlog.get_logger()


class CheckpointStore:
    """Finds, fetches and verifies. One per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._verified: dict[Path, tuple[tuple[int, int], str]] = {}

    def files_of(self, row: Checkpoint) -> CheckpointFiles:
        """The checkpoint's folder, with every file of its manifest in it as it was registered.

        Raises:
            CheckpointUnavailableError: a file is missing or is not what was registered.
            TransientError: S3 or the Hub does not answer.
        """
        folder = self._folder_of(row)
        try:
            self._verify_all(row, folder)
        except CheckpointUnavailableError:
            if row.source is Source.LOCAL:
                raise
            # Our own copy may have been damaged: fetch it once more.
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch(row, folder)
            self._verify_all(row, folder)
        config = {"compile": self._settings.compile}
        return CheckpointFiles(name=row.name, folder=folder, family=row.family, profile=row.profile, config=config)

    def _folder_of(self, row: Checkpoint) -> Path:
        if row.source is Source.LOCAL:
            return Path(row.location)
        folder = self._settings.checkpoint_cache / row.revision
        if not folder.is_dir():
            log.info("fetching a checkpoint", checkpoint=row.name, source=row.source.value, bytes=row.size_bytes)
            self._fetch(row, folder)
        return folder

    def _fetch(self, row: Checkpoint, folder: Path) -> None:
        """Into a folder of this process, then in place by one rename: another worker may fetch the same."""
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        try:
            if row.source is Source.S3:
                self._fetch_from_s3(row, partial)
            else:
                _fetch_from_hub(row, partial)
            try:
                partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another worker came first, with the same files
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _fetch_from_s3(self, row: Checkpoint, folder: Path) -> None:
        storage = Storage(self._settings)
        for relative in row.files:
            target = _inside(folder, relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                storage.download(f"{row.location.rstrip('/')}/{relative}", target)
            except NotFoundError:
                raise CheckpointUnavailableError(f"{row.name}: {relative} is not in the bucket.") from None

    def _verify_all(self, row: Checkpoint, folder: Path) -> None:
        for relative, entry in row.files.items():
            self._verify(folder, relative, entry)

    def _verify(self, folder: Path, relative: str, entry: dict[str, Any]) -> None:
        path = _inside(folder, relative)
        try:
            facts = path.stat()
            mark = (facts.st_size, facts.st_mtime_ns)
            known = self._verified.get(path)
            digest = known[1] if known and known[0] == mark else sha256_of(path)
        except OSError as error:
            raise CheckpointUnavailableError(f"The checkpoint's file {relative} cannot be read here.") from error
        if digest != entry["sha256"]:
            raise CheckpointUnavailableError(f"The checkpoint's file {relative} is not the one that was registered.")
        self._verified[path] = (mark, digest)


def _fetch_from_hub(row: Checkpoint, folder: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise CheckpointUnavailableError("Hub checkpoints need huggingface_hub: install safelight[worker].") from None
    found = _HUB_LOCATION.fullmatch(row.location)
    if found is None:
        raise CheckpointUnavailableError(f"{row.name}: a Hub location is owner/name@<40 hex digits>.")
    try:
        snapshot_download(
            found["repo"], revision=found["revision"], local_dir=folder, allow_patterns=HUB_PATTERNS, token=None
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise CheckpointUnavailableError(f"{row.name}: the Hub has no {row.location}.") from None
    except Exception as error:
        raise TransientError(f"The Hub did not answer: {type(error).__name__}.") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _inside(folder: Path, relative: str) -> Path:
    """A manifest is data: its paths may not lead out of the folder."""
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CheckpointUnavailableError("The checkpoint's manifest leads out of its folder.")
    return path


def weights_bytes(row: Checkpoint) -> int:
    """What loading will take, guessed from the safetensors files."""
    sizes = (int(entry["size_bytes"]) for path, entry in row.files.items() if path.endswith(".safetensors"))
    return sum(sizes)
