"""The manifest of a checkpoint folder: which files, how large, which hash; and which files are refused."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from models.checkpoints.names import check_path
from models.checkpoints.weights import BadWeightsError, check_weights
from models.errors import FieldError, ValidationFailedError

WEIGHTS = ".safetensors"
ALLOWED_SUFFIXES: frozenset[str] = frozenset({WEIGHTS, ".json", ".txt", ".model", ".md", ".png", ".jinja"})
"""Weights are safetensors only; the rest is text and pictures of the card."""
REFUSED_SUFFIXES: frozenset[str] = frozenset(
    {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".npy", ".npz", ".h5", ".msgpack", ".onnx", ".py", ".so"}
)
"""Formats that can carry code when read. Anything else that is not allowed is refused too; these are named."""
MAX_FILES = 500
MAX_OTHER_BYTES = 64 << 20
"""Of a file that holds no weights. Indexes, configurations and tokenizers are read whole: the largest have 35 MB."""
PACKAGED_SUFFIXES: frozenset[str] = frozenset({".onnx", ".param", ".bin", ".pth", ".gguf", WEIGHTS, ".json"})
"""Of weights inside packages whose versions the product pins, and whose readers hold the hash of each file."""
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
            ValidationFailedError: for a path that leads elsewhere, a format that can carry code, more files or bytes
                than a checkpoint has, or no safetensors at all; names the file.
        """
        if len(self.files) > MAX_FILES:
            raise _too_many()
        for relative, entry in self.files.items():
            check_path(relative)
            _check_kind(relative, int(entry["size_bytes"]))
        if not any(relative.endswith(WEIGHTS) for relative in self.files):
            raise _refused("no_weights", "There is no .safetensors file among them.")

    def check_packaged(self) -> None:
        """The same for files of an installed package, which our own card names: data, and never code.

        Raises:
            ValidationFailedError: for a path that leads elsewhere, another format, or no file; names the file.
        """
        if not 0 < len(self.files) <= MAX_FILES:
            raise _refused("no_weights", "A package's card names between one and a few hundred files.")
        for relative in self.files:
            check_path(relative)
            if PurePosixPath(relative).suffix.lower() not in PACKAGED_SUFFIXES:
                known = ", ".join(sorted(PACKAGED_SUFFIXES))
                raise _refused("unknown_format", f"{relative}: only {known} files of packages are taken.")


def scan_folder(folder: Path, *, hard_links: bool = False) -> FileManifest:
    """Hash every file below `folder`, but for hidden ones. `hard_links` are for folders that an installer laid.

    Raises:
        ValidationFailedError: for pickled weights, links, devices, weights whose header lies, files that are too large
            or too many, or no safetensors at all; names the file.
    """
    if not folder.is_dir():
        raise _refused("not_a_folder", f"{folder} is not a folder.")
    files: dict[str, dict[str, Any]] = {}
    for relative, path in sorted(walk(folder)):
        check_path(relative)
        facts = path.lstat()
        _check_file(relative, facts, hard_links=hard_links)
        _check_kind(relative, facts.st_size)
        if path.suffix == WEIGHTS:
            _check_header(relative, path)
        files[relative] = {"sha256": sha256_of(path), "size_bytes": facts.st_size}
    if not any(name.endswith(WEIGHTS) for name in files):
        raise _refused("no_weights", f"{folder} holds no .safetensors file.")
    return FileManifest(files)


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder that is not hidden, by its relative POSIX path; follows no link.

    Raises:
        ValidationFailedError: a link to a folder, or more than a checkpoint has.
    """
    count = 0
    for parent, folders, names in os.walk(folder):
        for name in folders:
            if (path := Path(parent, name)).is_symlink():
                raise _symlink(path.relative_to(folder).as_posix())
        count += len(folders)
        for name in names:
            if not name.startswith("."):
                path = Path(parent, name)
                yield path.relative_to(folder).as_posix(), path
                count += 1
        if count > MAX_FILES:
            raise _too_many()


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_file(relative: str, facts: os.stat_result, *, hard_links: bool) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise _symlink(relative)
    if not stat.S_ISREG(facts.st_mode):
        raise _refused("special_file", f"{relative} is no regular file.")
    if facts.st_nlink > 1 and not hard_links:
        raise _refused("hard_link", f"{relative} has a second name elsewhere (a hard link); copy the file itself.")


def _check_header(relative: str, path: Path) -> None:
    try:
        check_weights(path)
    except BadWeightsError as error:
        raise _refused("bad_weights", f"{relative} is no safetensors file: {error}.") from error


def _check_kind(relative: str, size_bytes: int) -> None:
    suffix = PurePosixPath(relative).suffix.lower()
    if suffix in REFUSED_SUFFIXES:
        raise _refused(
            "unsafe_format", f"{relative}: {suffix} files can carry code; convert the weights to safetensors."
        )
    if suffix not in ALLOWED_SUFFIXES:
        raise _refused("unknown_format", f"{relative}: only {', '.join(sorted(ALLOWED_SUFFIXES))} files are taken.")
    if suffix != WEIGHTS and size_bytes > MAX_OTHER_BYTES:
        raise _refused("too_large", f"{relative} has {size_bytes >> 20} MiB; at most {MAX_OTHER_BYTES >> 20} are read.")


def _symlink(relative: str) -> ValidationFailedError:
    return _refused("symlink", f"{relative} is a symbolic link; copy the file itself.")


def _too_many() -> ValidationFailedError:
    return _refused("too_many_files", f"There are more than {MAX_FILES} files; a checkpoint's folder holds it alone.")


def _refused(code: str, message: str) -> ValidationFailedError:
    return ValidationFailedError([FieldError("/location", code, message)])
