"""Jobs by a part of their id: ids begin with the time, so both the beginning and the end of one will do."""

import re
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from safelight.client import Client

SEARCHED_JOBS = 1000
SHORTEST_PART = 4
WHOLE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = re.compile(rf"[0-9a-f-]{{{SHORTEST_PART},35}}")


def job_id(client: "Client", text: str) -> str:
    """The whole id.  Among the newest jobs, one alone must begin or end with `text`.

    Raises typer.BadParameter when there is none, or more than one.
    """
    wanted = text.strip().lower()
    if WHOLE_ID.fullmatch(wanted):
        return wanted
    if not _PART.fullmatch(wanted):
        raise typer.BadParameter(f"{text!r} is neither an id nor {SHORTEST_PART} or more characters of one.")
    ids = (job.id for job in client.list(limit=SEARCHED_JOBS))
    found = [candidate for candidate in ids if candidate.startswith(wanted) or candidate.endswith(wanted)]
    if not found:
        raise typer.BadParameter(f"None of the newest {SEARCHED_JOBS} jobs begins or ends with {text!r}.")
    if len(found) > 1:
        raise typer.BadParameter(f"{len(found)} jobs begin or end with {text!r}: {', '.join(found[:4])}…")
    return found[0]
