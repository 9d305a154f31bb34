"""``safelight checkpoints`` and ``safelight tasks``: what there is to ask for."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.remote import Remote, talks_to_api

NAMED_CLASSES = 8

app = typer.Typer(
    name="checkpoints", no_args_is_help=True, add_completion=False, help="Checkpoints: list them, add one."
)


@app.command("ls")
@talks_to_api
def ls(remote: Remote) -> None:
    """List the checkpoints with their bounds and defaults."""
    from safelight.cli import views

    with remote.connect() as client:
        found = client.checkpoints()
    if remote.as_json:
        output.print_json({"items": found})
        return
    headings = ("name", "tasks", "pool", "size", "steps", "images", "classes")
    views.print_table(headings, map(_row, found), empty="No checkpoints: safelight checkpoints add FOLDER.")


@app.command("add")
@talks_to_api
def add(
    remote: Remote,
    location: Annotated[str, typer.Argument(help="A folder that every worker of its pool can read.")],
    name: Annotated[str | None, typer.Option(help="Its own name when absent.")] = None,
    pool: Annotated[str | None, typer.Option(help="gpu or cpu.")] = None,
    base: Annotated[str | None, typer.Option(help="Of a ControlNet: what it runs over.")] = None,
) -> None:
    """Register a checkpoint: safetensors only, every file hashed.  Needs an admin's key."""
    with remote.connect() as client:
        made = client.add_checkpoint(location, name=name, pool=pool, base=base)
    if remote.as_json:
        output.print_json(made)
    else:
        typer.echo(f"{made.get('name')} @ {str(made.get('revision'))[:12]} can be asked for.")


@talks_to_api
def tasks(
    remote: Remote, name: Annotated[str | None, typer.Argument(metavar="TASK", help="Only this one.")] = None
) -> None:
    """Show the tasks and their params: defaults, bounds, meaning."""
    with remote.connect() as client:
        found = [task for task in client.tasks() if name in (None, task.get("name"))]
    if remote.as_json:
        output.print_json({"items": found})
    elif not found:
        raise typer.BadParameter(f"There is no task {name!r}.")
    else:
        for task in found:
            _print_task(task)


def _print_task(task: Mapping[str, Any]) -> None:
    from safelight.cli import views

    typer.secho(f"{task.get('name')}", bold=True, nl=False)
    typer.echo(f"  {task.get('summary') or task.get('description') or ''}")
    schema = task.get("params") or task.get("schema") or task.get("params_schema") or {}
    required = set(schema.get("required") or ())
    rows = [
        (name, "required" if name in required else views.cell(entry.get("default")), entry.get("description") or "")
        for name, entry in (schema.get("properties") or {}).items()
    ]
    views.print_table(("param", "default", "meaning"), rows, empty="")


def _row(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    profile = checkpoint.get("profile") or {}
    names = profile.get("class_names") or ()
    classes = ", ".join(names[:NAMED_CLASSES]) + (f", … ({len(names)})" if len(names) > NAMED_CLASSES else "")
    side = f"{profile.get('default_width', '')}x{profile.get('default_height', '')}"
    return (
        str(checkpoint.get("name")),
        " ".join(checkpoint.get("tasks") or ()),
        str(checkpoint.get("pool") or ""),
        side if profile else "",
        str(profile.get("default_steps", "")),
        str(profile.get("max_images", "")),
        classes,
    )
