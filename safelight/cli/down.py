"""``safelight down``: end what runs on a home folder."""

from dataclasses import asdict
from typing import Annotated

import typer

from safelight.cli import output


def down(
    *,
    home: output.Home = output.DEFAULT_HOME,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for work in progress.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait before killing it.")] = 120.0,
    as_json: output.Json = False,
) -> None:
    """End everything in order, and clean up after a run that was killed.

    Workers first finish what they have in hand.  Exits with 0, also when nothing was running.
    """
    from safelight.standalone.layout import Layout
    from safelight.standalone.shutdown import bring_down

    layout = Layout.at(home)
    ended = bring_down(layout, timeout_seconds=timeout, now=now)
    if as_json:
        output.print_json({"home": layout.home, **asdict(ended)})
        return
    if ended.left_behind:
        typer.echo(f"Ended what a killed run had left behind: {', '.join(ended.left_behind)}")
    if ended.killed:
        typer.secho(f"Safelight (pid {ended.pid}) did not end in {timeout:g} s and was killed.", fg=typer.colors.YELLOW)
    elif ended.was_running:
        typer.echo(f"Safelight (pid {ended.pid}) has stopped.")
    else:
        typer.echo(f"Safelight does not run on {layout.home}.")
