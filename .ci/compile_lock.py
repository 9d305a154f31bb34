"""`pip-compile --generate-hashes` with the hashes that the index tells: it would download every file of every wheel.

Of torch both builds are hashed, the CPU one of the find-links folder and the ones of the index: they share a version.
`make lock` calls this with pip-compile's own arguments.
"""

from typing import Any

from packaging.version import InvalidVersion, Version
from piptools.repositories.pypi import PyPIRepository
from piptools.scripts.compile import cli

_downloaded_hash = PyPIRepository._get_file_hash


def _told_hash(repository: PyPIRepository, link: Any) -> str:
    return f"sha256:{link.hash}" if link.hash_name == "sha256" else _downloaded_hash(repository, link)


def _every_build(repository: PyPIRepository, wanted: Any) -> set[Any]:
    pinned = Version(next(iter(wanted.specifier)).version).public
    return {found for found in repository.find_all_candidates(wanted.name) if _public(str(found.version)) == pinned}


def _public(version: str) -> str | None:
    """Without `+cpu`; None for the dates and jokes that old releases call a version."""
    try:
        return Version(version).public
    except InvalidVersion:
        return None


if __name__ == "__main__":
    PyPIRepository._get_hashes_from_pypi = lambda *_: {}
    PyPIRepository._get_file_hash = _told_hash
    PyPIRepository._get_matching_candidates = _every_build
    cli()
