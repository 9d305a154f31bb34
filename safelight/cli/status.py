"""``safelight status``: what runs on a home folder."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from safelight.cli import output

if TYPE_CHECKING:
    from safelight.standalone.overview import Status


def status(*, home: output.Home = output.DEFAULT_HOME, as_json: output.Json = False) -> None:
    """Show every process: pid, uptime, restarts, ports, and whether it is ready.

    Exits with 0 when everything is ready, 3 when nothing runs, and 4 when something is not ready.
    """
    from safelight.standalone.layout import Layout
    from safelight.standalone.overview import look

    found = look(Layout.at(home))
    if as_json:
        output.print_json(asdict(found))
    elif found.running:
        _show(found)
    else:
        typer.echo(f"Safelight does not run on {found.home}.")
        if found.error:
            typer.echo(f"  the last run ended with: {found.error}")
    if not found.ready:
        raise typer.Exit(output.NOT_READY if found.running else output.NOT_RUNNING)


def _show(found: "Status") -> None:
    from rich.console import Console
    from rich.table import Table

    state = "ready" if found.ready else f"not ready ({found.phase})"
    typer.echo(f"Safelight on {found.home}: {state}")
    typer.echo(f"  {found.url or ''}  pid {found.pid}, up {output.duration(found.uptime_seconds)}")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("process", "state", "pid", "up", "restarts", "ports"):
        table.add_column(heading, justify="right" if heading in {"pid", "restarts"} else "left")
    for process in found.processes:
        table.add_row(
            process.name,
            process.phase,
            str(process.pid or ""),
            output.duration(process.uptime_seconds),
            str(process.restarts or ""),
            " ".join(str(port) for port in process.ports.values()),
            style=None if process.ready else "yellow",
        )
    Console().print(table)
