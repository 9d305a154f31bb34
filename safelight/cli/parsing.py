"""What a person types, as values: sizes, durations, moments and params.  A wrong one is a usage error (exit code 2)."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
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


def label(text: str) -> int | str:
    """A class by index or by name."""
    return int(text) if re.fullmatch(r"\d+", text) else text
