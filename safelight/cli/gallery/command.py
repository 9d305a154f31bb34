"""The command itself: an installation, its rows, a page."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from safelight.cli import output
from safelight.cli.gallery.rows import PHOTOGRAPH
from safelight.cli.installation import installation
from safelight.cli.remote import report


def gallery(
    home: output.Home = output.DEFAULT_HOME,
    page: Annotated[Path, typer.Option("--page", help="The page to write.", dir_okay=False)] = Path("gallery.md"),
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Where its pictures go; beside the page if absent.")
    ] = None,
    photograph: Annotated[
        Path | None, typer.Option("--photograph", help="The photograph that some rows start from.", dir_okay=False)
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ROW", help="These rows alone.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards.")] = False,
    as_json: output.Json = False,
) -> None:
    """Make a picture of everything that this installation can do, and a page that shows how.

    Exits with 1 when a row is missing or failed.
    """
    from safelight.cli.gallery.making import Maker
    from safelight.cli.gallery.page import write_page
    from safelight.client import Client, SafelightClientError

    folder = pictures or page.parent / page.stem
    source = photograph or folder / PHOTOGRAPH
    if not source.is_file():
        raise typer.BadParameter(f"There is no photograph at {source}; name one.", param_hint="--photograph")
    made = []
    try:
        with (
            installation(home, keep=keep, show=not as_json) as running,
            tempfile.TemporaryDirectory() as scratch,
            Client(home=running.home) as client,
        ):
            for each in Maker(client, source, Path(scratch)).make_all(only or ()):
                made.append(each)
                if not as_json:
                    typer.echo(f"{each.row.key:<24}{each.seconds:8.1f} s  {each.why or 'done'}", err=True)
            write_page(made, folder, page)
    except SafelightClientError as error:
        raise typer.Exit(report(error, as_json=as_json)) from error
    missing = [each for each in made if each.job is None]
    if as_json:
        rows = {each.row.key: {"seconds": round(each.seconds, 2), "missing": each.why or None} for each in made}
        output.print_json({"page": page, "rows": rows})
    else:
        typer.echo(f"{len(made) - len(missing)} of {len(made)} rows are in {page}")
    if missing:
        raise typer.Exit(output.FAILED)
