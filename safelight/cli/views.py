"""Jobs and lists as a person reads them, on standard output.  Programs get the API's JSON instead."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from safelight.cli import output
from safelight.cli.progress import COLOURS, describe

if TYPE_CHECKING:
    from safelight.client import Job

TITLE_CHARACTERS = 40


def title(job: "Job") -> str:
    """What the job is about: its prompt or class, shortened."""
    params = job.params
    text = str(params.get("prompt") or "")
    if not text and "class_label" in params:
        text = f"class {params['class_label']}"
    text = " ".join((text or job.task).split())
    return text if len(text) <= TITLE_CHARACTERS else text[: TITLE_CHARACTERS - 1] + "…"


def print_result(job: "Job", paths: Sequence[Path]) -> None:
    """Where the pictures are, or how to get them, and what the job says beside them."""
    for path in paths:
        typer.echo(str(path))
    said = {name: value for name, value in job.result.items() if name not in {"images", "artifacts", "attempt"}}
    for text in said.pop("texts", ()):
        typer.echo(text)
    print_pairs(said)
    if not paths and job.artifacts:
        typer.echo(f"{job.id} succeeded")
        typer.echo(f"  safelight download {job.id} -o pictures", err=True)


def print_verdict(found: Mapping[str, Any]) -> None:
    """Whether and how a picture is known."""
    for match in found.get("matches") or ():
        what = "this very file" if match.get("match") == "file" else "these pixels, in another file"
        job = f", job {match['job_id']}" if match.get("job_id") else ""
        typer.echo(f"made here: {what}, {cell(match.get('created_at'))}, by {match.get('checkpoint')}{job}")
    if not found.get("matches"):
        typer.echo("not made here, or deleted since")
    if claim := found.get("claim"):
        typer.echo(f"it says of itself: {claim.get('generator')}, {claim.get('checkpoint')}, job {claim.get('job_id')}")


def print_failure(job: "Job") -> None:
    """Why there are no pictures, and what can be done."""
    reason = f": {job.error.detail} [{job.error.code}]" if job.error else ""
    output.print_error(f"job {job.id} {job.state}{reason}", f"safelight retry {job.id}")


def print_pairs(values: Mapping[str, Any]) -> None:
    """One `name  value` a line; what is not plain is shown as JSON."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)
        if value is not None:
            typer.echo(f"{name:<{width}}  {text}")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table without lines; on a pipe every cell is whole and columns are two blanks apart."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis" if heading == "about" else "fold")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    if not table.row_count:
        typer.echo(empty, err=True)
        return
    console = Console()
    wide = Console(width=max(console.width, 200)) if not output.colour() else console
    wide.print(table)


def job_row(job: "Job") -> tuple[str, ...]:
    """One line of `safelight ls`."""
    return (job.id, job.state, job.checkpoint.name, _age(job.created_at), job.tag or "", title(job))


JOB_HEADINGS = ("id", "state", "checkpoint", "age", "tag", "about")


def print_job(job: "Job") -> None:
    """Everything about one job."""
    colour = COLOURS.get(job.state)
    typer.secho(f"{job.id}  {describe(job)}", fg=colour, bold=True)
    times = {
        "created": job.created_at,
        "started": job.started_at,
        "finished": job.finished_at,
        "deadline": job.deadline_at,
        "kept until": job.results_expire_at,
    }
    rows: dict[str, Any] = {
        "task": job.task,
        "checkpoint": f"{job.checkpoint.name} @ {job.checkpoint.revision[:12]}",
        "lane": f"{job.lane}, priority {job.priority}",
        "tag": job.tag,
        "source": job.source_job_id,
        "needs": ", ".join(job.needs) or None,
        "chain": job.chain_id,
        **{f"result {name}": value for name, value in job.result.items()},
        **{name: moment.astimezone().isoformat(" ", "seconds") for name, moment in times.items() if moment},
        **{f"param {name}": value for name, value in job.params.items() if value not in (None, "")},
        **{f"attempt {number}": _attempt(entry) for number, entry in enumerate(job.raw.get("attempts") or (), 1)},
    }
    print_pairs(rows)
    for made in job.artifacts:
        size = f"{made.width}×{made.height} " if made.width else ""
        typer.echo(f"{made.name or 'picture'} {made.index}  {size}{made.media_type} {made.sha256}")


def _attempt(entry: Mapping[str, Any]) -> str:
    reason = f": {entry['error_detail']}" if entry.get("error_detail") else ""
    return f"{entry.get('outcome')} on {entry.get('worker')}{reason}"


def _age(moment: datetime | None) -> str:
    return output.duration((datetime.now(UTC) - moment).total_seconds()) if moment else ""


def cell(value: Any) -> str:
    """A value of the API as a table shows it: nothing for null, times without their fractions."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M") if value[4:5] == "-" else value
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False)
