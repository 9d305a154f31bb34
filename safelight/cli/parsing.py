"""What a person types, as values: sizes, durations, moments and params.  A wrong one is a usage error (exit code 2)."""

import json
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def size(text: str) -> dict[str, int]:
    """`64x48` as width and height; `64` is a square."""
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write 512x768, or 512 for a square.")
    width, height = match.groups()
    return {"width": int(width), "height": int(height or width)}


def seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `2h`, `1d`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise typer.BadParameter(f"{text!r} is not a duration; write 90s, 15m, 2h or 1d.")
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str) -> datetime:
    """A date and time (this machine's, unless it says another), or how long ago: `2h`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=seconds(text))
        except typer.BadParameter:
            raise typer.BadParameter(
                f"{text!r} is not a time; write 2026-01-31T12:00, or 2h for two hours ago."
            ) from None
    return found.astimezone()


def params(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs; a value that is JSON is taken as JSON, any other as text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not a param; write name=value.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def inputs(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=source` pairs: a file, or `job:ID`, `artifact:ID`, `upload:ID`.

    A job's output may have an index, `job:ID:2`. A name that comes several times is a list.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise typer.BadParameter(f"{pair!r} is not an input; write name=file.png or name=job:ID.")
        value = _source(text)
        if name in found:
            value = [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
        found[name] = value
    return found


def step(text: str) -> dict[str, Any]:
    """`upscale scale=4` as a step of a chain."""
    task, *pairs = shlex.split(text)
    return {"task": task, "params": params(pairs)}


def _source(text: str) -> Any:
    kind, colon, rest = text.partition(":")
    if colon and kind in {"job", "artifact", "upload"}:
        key, _, index = rest.partition(":")
        return {kind: key} | ({"index": int(index)} if index.isdigit() else {})
    path = Path(text)
    if not path.exists():
        raise typer.BadParameter(f"There is no file {text}.")
    return path


def label(text: str) -> int | str:
    """A class by index or by name."""
    return int(text) if re.fullmatch(r"\d+", text) else text
