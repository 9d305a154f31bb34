"""The files of a checkpoint on this machine: fetched if they are elsewhere, and checked against the row's manifest.

Every file's SHA-256 is read once per process, and again only when its size or modification time changes.
"""

import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from models.checkpoints import Checkpoint, Source
from models.checkpoints.manifest import WEIGHTS, sha256_of, walk
from models.checkpoints.names import HUB_LOCATION, PACKAGE_LOCATION, check_path
from models.checkpoints.weights import BadWeightsError, check_weights
from models.errors import CheckpointUnavailableError, NotFoundError, TransientError, ValidationFailedError
from models.packages import root_of
from models.settings import Settings
from models.storage import Storage
from worker.pipelines.base import CheckpointFiles

PARTIAL = ".partial"
LEFTOVER_SECONDS = 3600.0
"""A folder of an unfinished fetch that nobody touched for so long is of a fetch that was killed."""
SHIPPED = frozenset({Source.PACKAGE, Source.BUILTIN})
NOT_OURS = SHIPPED | {Source.LOCAL}
"""Not fetched by us, and so not mended by fetching it again."""

log = structlog.get_logger()


class CheckpointStore:
    """Finds, fetches and verifies. One per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._verified: dict[Path, tuple[tuple[int, int], str]] = {}

    def remove_leftovers(self, older_than_seconds: float = LEFTOVER_SECONDS) -> int:
        """Delete what killed fetches left in the cache; those that are under way hold a lock."""
        removed = 0
        for partial in self._settings.checkpoint_cache.glob(f"*{PARTIAL}"):
            with suppress(OSError), _locked(partial):
                if time.time() - _touched(partial) >= older_than_seconds:
                    shutil.rmtree(partial)
                    removed += 1
        if removed:
            log.info("removed what killed fetches left", folders=removed)
        return removed

    def files_of(self, row: Checkpoint) -> CheckpointFiles:
        """The checkpoint's folder, with every file of its manifest in it as it was registered.

        Raises:
            CheckpointUnavailableError: a file is missing or is not what was registered.
            TransientError: S3 or the Hub does not answer, or there is no room for the files.
        """
        folder = self._folder_of(row)
        try:
            self._verify_all(row, folder)
        except CheckpointUnavailableError:
            if row.source in NOT_OURS:
                raise
            # Our own copy may have been damaged: fetch it once more.
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch(row, folder)
            self._verify_all(row, folder)
        config = {
            "compile": self._settings.compile,
            "files": sorted(row.files),
            "cache": str(self._settings.checkpoint_cache),
            "revision": row.revision,
        }
        return CheckpointFiles(
            name=row.name,
            folder=folder,
            family=row.family,
            profile=row.profile,
            config=config,
            weights=weights_of(row),
        )

    def _folder_of(self, row: Checkpoint) -> Path:
        if row.source is Source.LOCAL:
            return Path(row.location)
        if row.source is Source.PACKAGE:
            return _root_of_package(row)
        if row.source is Source.BUILTIN:
            return Path(__file__).parent
        folder = self._settings.checkpoint_cache / row.revision
        if not folder.is_dir():
            log.info("fetching a checkpoint", checkpoint=row.name, source=row.source.value, bytes=row.size_bytes)
            self._fetch(row, folder)
        return folder

    def _fetch(self, row: Checkpoint, folder: Path) -> None:
        """Into a folder of its own, then in place by one rename: another worker may fetch the same."""
        for relative in row.files:
            _check_name(relative)
        try:
            self._fetch_aside(row, folder)
        except OSError as error:
            # Full or read-only: another worker may have room, or this one later.
            why = error.strerror or type(error).__name__
            raise TransientError(f"The worker's checkpoint cache does not take the files: {why}.") from error

    def _fetch_aside(self, row: Checkpoint, folder: Path) -> None:
        partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{PARTIAL}")
        partial.mkdir(parents=True)
        try:
            with _locked(partial, must=False):
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
        """Every file of the manifest, and no other: a loader takes what it finds, planted files and indexes too.

        A package's folder is full of other packages; what reads it opens the manifest's files by name.
        """
        for relative, entry in row.files.items():
            self._verify(folder, relative, entry)
        if row.source in SHIPPED:
            return
        try:
            others = {relative for relative, _ in walk(folder)} - row.files.keys()
        except ValidationFailedError as error:
            raise CheckpointUnavailableError(error.detail) from error
        if others:
            raise CheckpointUnavailableError(f"{min(others)} was not there when the checkpoint was registered.")

    def _verify(self, folder: Path, relative: str, entry: dict[str, Any]) -> None:
        path = _inside(folder, relative)
        try:
            facts = path.lstat()
            mark = (facts.st_size, facts.st_mtime_ns)
            known = self._verified.get(path)
            if known is None or known[0] != mark or not stat.S_ISREG(facts.st_mode):
                known = mark, _digest(path, relative, facts)
        except OSError as error:
            raise CheckpointUnavailableError(f"The checkpoint's file {relative} cannot be read here.") from error
        if known[1] != entry["sha256"]:
            raise CheckpointUnavailableError(f"The checkpoint's file {relative} is not the one that was registered.")
        if path not in self._verified:
            _check_header(path, relative)
        self._verified[path] = known


def _root_of_package(row: Checkpoint) -> Path:
    found = PACKAGE_LOCATION.fullmatch(row.location)
    if found is None:
        raise CheckpointUnavailableError(f"{row.name}: a package's location is distribution==version.")
    return root_of(found["distribution"], found["version"])


def _fetch_from_hub(row: Checkpoint, folder: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise CheckpointUnavailableError("Hub checkpoints need huggingface_hub: install safelight[worker].") from None
    found = HUB_LOCATION.fullmatch(row.location)
    if found is None:
        raise CheckpointUnavailableError(f"{row.name}: a Hub location is owner/name@<40 hex digits>.")
    try:
        snapshot_download(
            found["repo"], revision=found["revision"], local_dir=folder, allow_patterns=list(row.files), token=None
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise CheckpointUnavailableError(f"{row.name}: the Hub has no {row.location}.") from None
    except Exception as error:
        raise TransientError(f"The Hub did not answer: {type(error).__name__}.") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _inside(folder: Path, relative: str) -> Path:
    """A manifest is data: its paths may not lead out of the folder, by their names or by links."""
    _check_name(relative)
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CheckpointUnavailableError(f"{relative} leads out of its folder.")
    return path


def _check_name(relative: str) -> None:
    try:
        check_path(relative)
    except ValidationFailedError as error:
        raise CheckpointUnavailableError(f"The manifest leads out of its folder: {error.detail}") from error


def _digest(path: Path, relative: str, facts: os.stat_result) -> str:
    if not stat.S_ISREG(facts.st_mode):  # a FIFO would be read for ever
        raise CheckpointUnavailableError(f"The checkpoint's file {relative} is no regular file.")
    return sha256_of(path)


def _check_header(path: Path, relative: str) -> None:
    """The hash is the registered one; of files that the API could not look at, nobody has read more than that."""
    if path.suffix == WEIGHTS:
        try:
            check_weights(path)
        except BadWeightsError as error:
            raise CheckpointUnavailableError(
                f"The checkpoint's file {relative} is no safetensors file: {error}."
            ) from error


@contextmanager
def _locked(folder: Path, *, must: bool = True) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process; `must` it be had, or may it be unknown to the file system.

    Raises:
        OSError: somebody else holds it, or it is not to be had.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if must:
                raise
        yield
    finally:
        os.close(handle)


def _touched(folder: Path) -> float:
    """When anything in it was last written, by the file system's clock."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def weights_of(row: Checkpoint) -> tuple[str, ...]:
    """The files that hold weights; a package's are of whatever kind its own code reads."""
    return tuple(sorted(path for path in row.files if row.source is Source.PACKAGE or path.endswith(WEIGHTS)))
