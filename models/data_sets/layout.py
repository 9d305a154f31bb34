"""What the paths in a data set mean: classes, splits, and the rows of `metadata.jsonl`.

The layout is the ImageFolder of torchvision and Hugging Face: `class/file.png`, `split/class/file.png`, or files alone.
One outer folder round everything is taken off. A row of `metadata.jsonl` names a file beside it (`file_name`) and may
say `text` (or `caption`), `label` and `split`; it goes before what the folders say.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

METADATA_NAME = "metadata.jsonl"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "holdout"})
"""Folders of these names, outermost, are splits and not classes."""
MAX_CLASS_CHARACTERS = 100
MAX_CAPTION_CHARACTERS = 2000
_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Label:
    """What a path says."""

    split: str | None = None
    class_name: str | None = None


@dataclass(frozen=True)
class Row:
    """What a line of metadata says."""

    caption: str | None = None
    class_name: str | None = None
    split: str | None = None


def is_picture(name: str) -> bool:
    """By its suffix; what is inside shows when it is read."""
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """What file managers and macOS leave in zips."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def labels_of(names: Iterable[str], splits: frozenset[str] = frozenset()) -> dict[str, Label]:
    """The label of each picture by its path among all the others. `splits` are more names of splits than the usual."""
    known = SPLIT_NAMES | splits
    folders = {name: tuple(name.split("/")[:-1]) for name in names}
    outer = _outer_folders(set(folders.values()), known)
    return {name: _label(parts[outer:], known) for name, parts in folders.items()}


def read_rows(body: bytes, folder: str) -> tuple[dict[str, Row], int]:
    """The rows by the path of their picture, and how many lines were none. The last line on a picture counts."""
    rows: dict[str, Row] = {}
    bad = 0
    for line in body.splitlines():
        if not line.strip():
            continue
        found = _row(line)
        if found is None:
            bad += 1
        else:
            name, row = found
            rows[f"{folder}/{name}" if folder else name] = row
    return rows, bad


def _outer_folders(folders: set[tuple[str, ...]], splits: frozenset[str]) -> int:
    """How many folders all pictures share that say nothing: not a split, and something lies below each."""
    shortest = min((len(parts) for parts in folders), default=0)
    depth = 0
    while (
        depth + 1 < shortest
        and len({parts[depth] for parts in folders}) == 1
        and next(iter(folders))[depth].lower() not in splits
    ):
        depth += 1
    return depth


def _label(parts: tuple[str, ...], splits: frozenset[str]) -> Label:
    split = parts[0].lower() if parts and parts[0].lower() in splits else None
    rest = parts[1:] if split else parts
    return Label(split, rest[0].strip()[:MAX_CLASS_CHARACTERS] or None if rest else None)


def _row(line: bytes) -> tuple[str, Row] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(name := found.get("file_name"), str):
        return None
    try:
        caption = _text(found, "text", MAX_CAPTION_CHARACTERS) or _text(found, "caption", MAX_CAPTION_CHARACTERS)
        split = _text(found, "split", MAX_CLASS_CHARACTERS)
        row = Row(caption, _text(found, "label", MAX_CLASS_CHARACTERS), split)
    except ValueError:
        return None
    if split is not None and not _SPLIT.fullmatch(split):
        return None
    return name.removeprefix("./"), row


def _text(row: Mapping[str, Any], field: str, most: int) -> str | None:
    """A text that can be stored, or None where there is none.

    Raises:
        ValueError: another type, too long, or not to be stored.
    """
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool) and field == "label":
        value = str(value)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > most or "\x00" in value:
        raise ValueError(field)
    value.encode()  # a lone surrogate is no text
    return value.strip() or None
