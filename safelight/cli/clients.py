"""``safelight clients`` and ``safelight audit``: who may do how much, and what operators did."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.remote import Remote, talks_to_api

SHOWN_ENTRIES = 50
COLUMNS = ("name", "weight", "max_live_jobs", "max_priority", "live_jobs", "created_at")

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
) -> None:
    """Change a client's share and limits.  Needs an admin's key."""
    if weight is max_live_jobs is max_priority is None:
        raise typer.BadParameter("Say what to change: --weight, --max-live-jobs or --max-priority.")
    with remote.connect() as connection:
        client = connection.set_client(name, weight=weight, max_live_jobs=max_live_jobs, max_priority=max_priority)
    if remote.as_json:
        output.print_json(client)
    else:
        typer.echo(f"{name}: " + ", ".join(f"{field} {client.get(field)}" for field in COLUMNS[1:4]))


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
