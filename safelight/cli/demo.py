"""``safelight demo``: everything once, from nothing to pictures on the disk, and how long each part took."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safelight.cli import output
from safelight.cli.installation import Installation, installation, print_times
from safelight.cli.remote import report
from safelight.cli.sheet import contact_sheet

if TYPE_CHECKING:
    from safelight.client import Client, Job

PROMPT, CLASS_NAME, IMAGES = "a cat on a blue background", "cat", 8
JOB_SECONDS = 600.0
TEXT, CLASS = "text_to_image", "class_to_image"
STARTERS = {TEXT: "emoji-64", CLASS: "animals-gan"}
FILES = {TEXT: "text-to-image.png", CLASS: "class-to-image.png"}
SHEET = "contact-sheet.png"
TIMES = {
    "services": "Postgres, Valkey, S3",
    "migration": "migration",
    "application": "API and workers",
    TEXT: "first job, text to image",
    CLASS: "second job, class to image",
    "stop": "stop",
    "total": "total",
}


@dataclass(frozen=True, slots=True)
class Made:
    """One job of the demo."""

    job: "Job"
    paths: Sequence[Path]
    seconds: float


def demo(
    home: output.Home = output.DEFAULT_HOME,
    to: Annotated[Path, typer.Option("--output", "-o", help="Where the pictures go.", file_okay=False)] = Path("demo"),
    prompt: Annotated[str, typer.Option(help="What to draw.")] = PROMPT,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=16, help="Pictures of each job.")] = IMAGES,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards.")] = False,
    as_json: output.Json = False,
) -> None:
    """Start everything, make pictures from a prompt and from a class, and stop again.

    An installation that runs already is used, and left running.  Exits with 1 when a job failed.
    """
    from safelight.client import JobFailedError, SafelightClientError

    began = time.monotonic()
    try:
        with installation(home, keep=keep, show=not as_json) as running:
            made = _make(running, to, prompt, number, show=not as_json)
    except SafelightClientError as error:
        code = report(error, as_json=as_json)
        if isinstance(error, JobFailedError) and not as_json:
            typer.echo(f"  the logs say more: {home / 'logs'}", err=True)
        raise typer.Exit(code) from error
    running.seconds.update({task: each.seconds for task, each in made.items()}, total=time.monotonic() - began)
    pictures = [path for each in made.values() for path in each.paths]
    if not pictures:
        output.print_error("no checkpoint makes pictures yet", "safelight checkpoints add FOLDER", as_json=as_json)
        raise typer.Exit(output.FAILED)
    sheet = contact_sheet(pictures, to / SHEET)
    if as_json:
        _print_json(running, made, sheet)
    else:
        _tell(running, made, sheet, home, stays=keep or running.was_running)


def _make(running: Installation, to: Path, prompt: str, number: int, *, show: bool) -> dict[str, Made]:
    from safelight.client import Client

    with Client(home=running.home) as client:
        cards = client.checkpoints()
        by_prompt, by_class = _card(cards, TEXT), _card(cards, CLASS)
        made = {}
        if by_prompt:
            made[TEXT] = _one(client, by_prompt, TEXT, {"prompt": prompt}, to, number, show=show)
        if by_class:
            label = _class(by_class)
            made[CLASS] = _one(client, by_class, CLASS, {"class_label": label}, to, number, show=show)
    return made


def _one(
    client: "Client", card: Mapping[str, Any], task: str, params: dict[str, Any], to: Path, number: int, *, show: bool
) -> Made:
    from safelight.cli.progress import JobProgress

    began, label = time.monotonic(), str(params.get("prompt") or f"class {params.get('class_label')}")
    images = min(number, int((card.get("profile") or {}).get("max_images") or number))
    with JobProgress(f"{card['name']}: {label}", show=show) as progress:
        job = client.run(
            task,
            {**params, "num_images": images, "seed": 7},
            checkpoint=str(card["name"]),
            tag="demo",
            timeout=JOB_SECONDS,
            on_progress=progress,
        )
    return Made(job, client.download(job, to / FILES[task]), time.monotonic() - began)


def _card(cards: Sequence[Mapping[str, Any]], task: str) -> Mapping[str, Any] | None:
    """The starter checkpoint of a task, else whichever does it."""
    fitting = [card for card in cards if task in (card.get("tasks") or ())]
    return next((card for card in fitting if card.get("name") == STARTERS[task]), fitting[0] if fitting else None)


def _class(card: Mapping[str, Any]) -> str | int:
    names = list((card.get("profile") or {}).get("class_names") or ())
    return CLASS_NAME if CLASS_NAME in names else str(names[0]) if names else 0


def _print_json(running: Installation, made: Mapping[str, Made], sheet: Path) -> None:
    output.print_json(
        {
            "url": running.url,
            "docs_url": running.docs_url,
            "home": running.home,
            "jobs": {task: each.job.id for task, each in made.items()},
            "files": [str(path) for each in made.values() for path in each.paths],
            "contact_sheet": sheet,
            "seconds": {name: round(value, 2) for name, value in running.seconds.items()},
        }
    )


def _tell(running: Installation, made: Mapping[str, Made], sheet: Path, home: Path, *, stays: bool) -> None:
    pictures = [path for each in made.values() for path in each.paths]
    typer.secho(f"\n{len(pictures)} pictures are in {pictures[0].parent}/", fg=typer.colors.GREEN, bold=True)
    typer.echo(f"  all of them, enlarged: {sheet}\n")
    print_times(running.seconds, TIMES)
    there = "" if home == output.DEFAULT_HOME else f" --home {home}"
    if stays:
        typer.echo(f"\nIt runs at {running.url}; its documentation is at {running.docs_url}")
        typer.echo(f'  safelight submit{there} "a dog" -o dog.png\n  safelight down{there}')
        return
    typer.echo(f"\nIt is stopped again. To start it, and keep it: safelight up{there}")
    typer.echo(f'  then: safelight submit{there} "a dog" -o dog.png')
    typer.echo(f"  documentation of the API, while it runs: {running.docs_url}")
