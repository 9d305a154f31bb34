"""The manifest of a checkpoint folder: which files, how large, which hash; and which files are refused."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import FieldError, ValidationFailedError

ALLOWED_SUFFIXES: frozenset[str] = frozenset({".safetensors", ".json", ".txt", ".model", ".md", ".png", ".jinja"})
"""Weights are safetensors only; the rest is text and pictures of the card."""
REFUSED_SUFFIXES: frozenset[str] = frozenset(
    {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".npy", ".npz", ".h5", ".msgpack", ".onnx", ".py", ".so"}
)
"""Formats that can carry code when read. Anything else that is not allowed is refused too; these are named."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileManifest:
    """Every file of a checkpoint by its relative POSIX path."""

    files: dict[str, dict[str, Any]]

    @property
    def revision(self) -> str:
        """SHA-256 over paths and hashes; two folders with the same files have the same revision."""
        canonical = json.dumps({path: entry["sha256"] for path, entry in self.files.items()}, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def check(self) -> None:
        """Whether these files may be loaded, by their names alone.

        Raises:
            ValidationFailedError: for a format that can carry code, or no safetensors at all; names the file.
        """
        for relative in self.files:
            _check_suffix(relative, PurePosixPath(relative).suffix.lower())
        if not any(relative.endswith(".safetensors") for relative in self.files):
            raise _refused("no_weights", "There is no .safetensors file among them.")


def scan_folder(folder: Path) -> FileManifest:
    """Hash every file below `folder`.

    Raises:
        ValidationFailedError: for pickled weights, symbolic links, or no safetensors at all; names the file.
    """
    if not folder.is_dir():
        raise _refused("not_a_folder", f"{folder} is not a folder.")
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise _refused("symlink", f"{relative} is a symbolic link; copy the file itself.")
        if path.is_dir() or path.name.startswith("."):
            continue
        _check_suffix(relative, path.suffix.lower())
        files[relative] = {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
    if not any(name.endswith(".safetensors") for name in files):
        raise _refused("no_weights", f"{folder} holds no .safetensors file.")
    return FileManifest(files)


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_suffix(relative: str, suffix: str) -> None:
    if suffix in REFUSED_SUFFIXES:
        raise _refused(
            "unsafe_format", f"{relative}: {suffix} files can carry code; convert the weights to safetensors."
        )
    if suffix not in ALLOWED_SUFFIXES:
        raise _refused("unknown_format", f"{relative}: only {', '.join(sorted(ALLOWED_SUFFIXES))} files are taken.")


def _refused(code: str, message: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/location", code, message)])
