"""Texts that were written before, kept on this worker's disk: the same question has the same answer, at no cost.

A file for each, named by a hash, which nothing of a prompt can be read from; the oldest go first. A worker that is
another machine writes anew: the cache saves time and promises nothing.
"""

import hashlib
import json
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.params import ExpandPromptParams
from worker.pipelines.base import CheckpointFiles

FOLDER = "texts"
MAX_FILES = 2000
SUFFIX = ".json"


@dataclass(frozen=True)
class Remembered:
    """What one checkpoint wrote. Without a folder or a revision nothing is kept."""

    folder: Path | None
    revision: str

    @classmethod
    def of(cls, files: CheckpointFiles) -> "Remembered":
        """In the checkpoint cache, beside the weights."""
        cache, revision = files.config.get("cache"), files.config.get("revision")
        return cls(Path(cache) / FOLDER if cache and revision else None, str(revision))

    def find(self, params: ExpandPromptParams) -> tuple[str, ...] | None:
        """What these params, with their seed, were answered with; None if that is not known (any more)."""
        if self.folder is None:
            return None
        path = self._path(self.folder, params)
        try:
            texts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return None
        with suppress(OSError):
            os.utime(path)  # what is asked for again stays longest
        return tuple(texts)

    def keep(self, params: ExpandPromptParams, texts: tuple[str, ...]) -> None:
        """Put aside, whole or not at all; a full disk is no reason to fail a job."""
        if self.folder is None:
            return
        path = self._path(self.folder, params)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(texts, stream, ensure_ascii=False)
            partial.replace(path)
            _forget_oldest(self.folder)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _path(self, folder: Path, params: ExpandPromptParams) -> Path:
        question = json.dumps([self.revision, params.model_dump(mode="json")], sort_keys=True)
        return folder / f"{hashlib.sha256(question.encode()).hexdigest()}{SUFFIX}"


def _forget_oldest(folder: Path) -> None:
    entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in entries[: max(0, len(entries) - MAX_FILES)]:
        path.unlink(missing_ok=True)
