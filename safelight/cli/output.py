"""What the commands share: exit codes, the options that all of them have, and printing for people or as JSON."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from safelight.standalone.layout import DEFAULT_HOME

__all__ = ["DEFAULT_HOME", "Home", "Json"]

FAILED, USAGE, NOT_RUNNING, NOT_READY, INTERRUPTED = 1, 2, 3, 4, 130

Home = Annotated[
    Path,
    typer.Option("--home", envvar="SAFELIGHT_HOME", help="The folder with data, logs and run state.", file_okay=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; whatever JSON does not know becomes text."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_error(message: str, remedy: str, *, as_json: bool = False) -> None:
    """What went wrong, and what to do about it, on standard error (as JSON: on standard output)."""
    if as_json:
        print_json({"error": message, "remedy": remedy})
        return
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(message, err=True)
    if remedy:
        typer.echo(f"  try: {remedy}", err=True)


def duration(seconds: float | None) -> str:
    """``3 d 4 h``, ``5 min 12 s``, ``7.2 s``: the two units that matter."""
    if seconds is None:
        return ""
    if seconds < 60:  # noqa: PLR2004  seconds in a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def colour() -> bool:
    """Whether standard output is a terminal that a person reads."""
    return sys.stdout.isatty()
