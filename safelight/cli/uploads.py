"""``safelight upload``: hand in pictures and data sets that jobs take as their input."""

from pathlib import Path
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.remote import Remote, talks_to_api

SHOWN_CLASSES = 8
LEFT_OUT = ("unreadable", "too_large", "ignored")

Paths = Annotated[list[Path], typer.Argument(metavar="PATH…", help="Pictures, zips of pictures, or folders of them.")]

Direct = Annotated[
    bool, typer.Option("--direct", help="Send straight to the object storage, past the API: for large data sets.")
]


@talks_to_api
def upload(remote: Remote, paths: Paths, direct: Direct = False) -> None:
    """Upload pictures and data sets.  A folder is sent as a zip; its subfolders are the classes.

    A job takes one by its id: --param 'data_set={"upload": "ID"}'.
    """
    with remote.connect() as client:
        for path in paths:
            sent = client.upload(path, direct=direct)
            if remote.as_json:
                output.print_json(dict(sent.raw))
            else:
                typer.echo(f"{sent.id}  {path}  {_words(sent.raw)}")


def _words(raw: Any) -> str:
    """What it is, in a line."""
    details = raw.get("details")
    if not details:
        return f"{raw.get('width')} × {raw.get('height')} pixels"
    parts = [f"{details['pictures']} pictures"]
    classes = [f"{name} ({count})" for name, count in details["classes"].items()]
    if classes:
        more = f" and {len(classes) - SHOWN_CLASSES} more" if classes[SHOWN_CLASSES:] else ""
        parts.append(f"classes {', '.join(classes[:SHOWN_CLASSES])}{more}")
    if details["splits"]:
        parts.append("splits " + ", ".join(f"{name} ({count})" for name, count in details["splits"].items()))
    parts += [f"{details[name]} {name.replace('_', ' ')}" for name in LEFT_OUT if details.get(name)]
    return "; ".join(parts)
