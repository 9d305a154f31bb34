"""``safelight keys``: who may use the API."""

from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.remote import Remote, talks_to_api

app = typer.Typer(
    name="keys",
    no_args_is_help=True,
    add_completion=False,
    help="API keys: create, list, revoke.  Needs an admin's key.",
)


@app.command("create")
@talks_to_api
def create(
    remote: Remote,
    client: Annotated[str, typer.Argument(help="Whose it is: an application or a person; made when new.")],
    role: Annotated[str, typer.Option(help="client, viewer, operator or admin.")] = "client",
    name: Annotated[str | None, typer.Option(help="A word to tell keys apart.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Never, when absent.")] = None,
) -> None:
    """Create a key.  It is shown now and never again; standard output holds nothing else."""
    with remote.connect() as connection:
        made = connection.create_key(client, role, name=name, expires_in_days=expires_in_days)
    if remote.as_json:
        output.print_json(made)
        return
    typer.echo(f"Key {made.get('id')} of {client} ({role}); keep it, it is not shown again:", err=True)
    typer.echo(str(made.get("key")))


@app.command("ls")
@talks_to_api
def ls(remote: Remote) -> None:
    """List keys, without their secrets."""
    from safelight.cli import views

    with remote.connect() as connection:
        found = connection.keys()
    if remote.as_json:
        output.print_json({"items": found})
        return
    columns = ("id", "client", "role", "name", "created_at", "expires_at", "revoked_at")
    rows = [[views.cell(key.get(column)) for column in columns] for key in found]
    views.print_table([column.removesuffix("_at") for column in columns], rows, empty="No keys.")


@app.command("revoke")
@talks_to_api
def revoke(remote: Remote, key_id: Annotated[str, typer.Argument(metavar="ID", help="The 12 characters.")]) -> None:
    """End a key now."""
    with remote.connect() as connection:
        connection.revoke_key(key_id)
    if remote.as_json:
        output.print_json({"id": key_id, "revoked": True})
    else:
        typer.echo(f"Key {key_id} is revoked.")
