"""``safelight clients`` and ``safelight audit``: who may do how much, and what operators did."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.remote import Remote, talks_to_api

SHOWN_ENTRIES = 50
COLUMNS = ("name", "weight", "max_live_jobs", "max_priority", "safety_threshold", "live_jobs", "created_at")

app = typer.Typer(
    name="clients",
    no_args_is_help=True,
    add_completion=False,
    help="Clients: list them, change their share and their limits.",
)


@app.command("ls")
@talks_to_api
def ls(remote: Remote) -> None:
    """List the clients.  Needs a viewer's key."""
    from safelight.cli import views

    with remote.connect() as connection:
        found = connection.clients()
    if remote.as_json:
        output.print_json({"items": found})
        return
    rows = [[views.cell(client.get(column)) for column in COLUMNS] for client in found]
    views.print_table([column.removesuffix("_at") for column in COLUMNS], rows, empty="No clients.")


@app.command("set")
@talks_to_api
def set_(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="Whose.")],
    weight: Annotated[float | None, typer.Option(min=0, help="Share of the workers; 1 is plain.")] = None,
    max_live_jobs: Annotated[int | None, typer.Option(min=0, help="Waiting and running jobs at a time.")] = None,
    max_priority: Annotated[int | None, typer.Option(min=0, max=100, help="The highest it may ask for.")] = None,
    safety: Annotated[
        str | None, typer.Option("--safety", metavar="SCORE", help="Withhold pictures from 0.8 on, say; or `off`.")
    ] = None,
    block: Annotated[
        list[str] | None, typer.Option("--block", metavar="WORD", help="All words that prompts may not have.")
    ] = None,
    unblock: Annotated[bool, typer.Option("--no-block", help="No blocked words any more.")] = False,
) -> None:
    """Change a client's share, limits and filters.  Needs an admin's key."""
    changes: dict[str, Any] = {"weight": weight, "max_live_jobs": max_live_jobs, "max_priority": max_priority}
    changes["safety_threshold"] = _threshold(safety)
    changes["blocked_words"] = [] if unblock else block
    if all(value is None for value in changes.values()):
        raise typer.BadParameter("Say what to change: --weight, --max-live-jobs, --max-priority, --safety or --block.")
    with remote.connect() as connection:
        client = connection.set_client(name, **changes)
    if remote.as_json:
        output.print_json(client)
    else:
        typer.echo(f"{name}: " + ", ".join(f"{field} {client.get(field)}" for field in COLUMNS[1:5]))


def _threshold(text: str | None) -> float | str | None:
    if text is None or text == "off":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no score; write a number between 0 and 1, or off.") from None


@talks_to_api
def audit(
    remote: Remote,
    subject: Annotated[str | None, typer.Argument(help="Only what was done to this: an id or a name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = SHOWN_ENTRIES,
) -> None:
    """Show what operators and admins did, newest first.  Needs an admin's key."""
    from safelight.cli import views

    with remote.connect() as connection:
        found = connection.audit(subject, limit=limit)
    if remote.as_json:
        output.print_json({"items": found})
        return
    headings = ("when", "who", "role", "action", "subject", "data")
    views.print_table(headings, map(_row, found), empty="Nothing was done.")


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    data = entry.get("data")
    return (
        str(entry.get("created_at")),
        f"{entry.get('client')} ({entry.get('key_id')})",
        str(entry.get("role")),
        str(entry.get("action")),
        str(entry.get("subject")),
        json.dumps(data, ensure_ascii=False) if data else "",
    )
