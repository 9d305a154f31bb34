"""What a manifest's paths and a checkpoint's location may look like: data that becomes paths and keys."""

import re

from models.checkpoints.rows import Source
from models.errors import FieldError, ValidationFailedError

MAX_PATH_CHARACTERS = 300
MAX_DEPTH = 10
HUB_LOCATION = re.compile(
    r"(?P<repo>[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95})@(?P<revision>[0-9a-f]{40})"
)
PACKAGE_LOCATION = re.compile(r"(?P<distribution>[a-z0-9][a-z0-9-]{0,99})==(?P<version>[0-9][A-Za-z0-9.+!]{0,49})")
_CHARACTERS = re.compile(r"[^\x00-\x1f\x7f\\:*?\"<>|\ud800-\udfff]+")
"""Whatever a name may hold on every file system and in every S3 key."""


def check_path(relative: str, pointer: str = "/location") -> None:
    """Whether it names something below a folder, or below a key prefix, and nothing else.

    Raises:
        ValidationFailedError: absolute, with `.`, `..`, empty or hidden parts, or with characters of no name.
    """
    parts = relative.split("/")
    if (
        len(relative) > MAX_PATH_CHARACTERS
        or len(parts) > MAX_DEPTH
        or not _CHARACTERS.fullmatch(relative)
        or any(not part or part.startswith(".") or part != part.strip() for part in parts)
    ):
        shown = relative[:MAX_PATH_CHARACTERS].encode("ascii", "backslashreplace").decode()
        text = f"{shown}: a checkpoint's path has no `..`, no hidden folder, no odd character, and is not long."
        raise ValidationFailedError([FieldError(pointer, "unsafe_path", text)])


def check_location(source: Source, location: str) -> None:
    """Whether a location that is no folder of this machine fits its source.

    Raises:
        ValidationFailedError: no pinned revision of the Hub, no key prefix, or no pinned version of a package.
    """
    if source is Source.S3:
        check_path(location.removesuffix("/"))
    elif source is Source.HUB and not HUB_LOCATION.fullmatch(location):
        text = "A Hub location is owner/name@<40 hex digits>."
        raise ValidationFailedError([FieldError("/location", "unpinned", text)])
    elif source in (Source.PACKAGE, Source.BUILTIN) and not PACKAGE_LOCATION.fullmatch(location):
        text = "A package's location is distribution==version."
        raise ValidationFailedError([FieldError("/location", "unpinned", text)])
