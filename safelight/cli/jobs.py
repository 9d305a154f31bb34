"""``safelight ls``, ``show``, ``watch``, ``cancel``, ``retry``, ``rm``, ``download``: jobs of before."""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safelight.cli import finding, output, parsing
from safelight.cli.remote import Remote, talks_to_api

if TYPE_CHECKING:
    from safelight.client import Job

LISTED_JOBS = 20

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id, or the beginning or the end of it.")]
Filter = str | None


@talks_to_api
def ls(
    remote: Remote,
    state: Annotated[list[str] | None, typer.Option(help="E.g. failed; several times: any of them.")] = None,
    task: Annotated[Filter, typer.Option(help="E.g. text_to_image.")] = None,
    checkpoint: Annotated[Filter, typer.Option("--checkpoint", "-c", help="By its name.")] = None,
    tag: Annotated[Filter, typer.Option(help="The word given at submit.")] = None,
    since: Annotated[Filter, typer.Option(help="2026-01-31T12:00, or 2h for the last two hours.")] = None,
    before: Annotated[Filter, typer.Option(help="The same, as the other end.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = LISTED_JOBS,
    every: Annotated[bool, typer.Option("--all", help="No limit.")] = False,
) -> None:
    """List jobs, newest first."""
    from safelight.cli import views

    after, until = (parsing.moment(text) if text else None for text in (since, before))
    with remote.connect() as client:
        wanted = None if every else limit
        found = client.list(
            state=state,
            task=task,
            checkpoint=checkpoint,
            tag=tag,
            created_after=after,
            created_before=until,
            limit=None if wanted is None else wanted + 1,
        )
        jobs = list(itertools.islice(found, wanted))
        more = next(found, None) is not None
    if remote.as_json:
        output.print_json({"items": [job.raw for job in jobs], "more": more})
        return
    views.print_table(views.JOB_HEADINGS, map(views.job_row, jobs), empty="No jobs match.")
    if more:
        typer.echo("There are more: --limit or --all shows them.", err=True)


@talks_to_api
def show(remote: Remote, job: JobId) -> None:
    """Show everything about a job."""
    from safelight.cli import views

    with remote.connect() as client:
        found = client.get(finding.job_id(client, job))
    if remote.as_json:
        output.print_json(found.raw)
    else:
        views.print_job(found)


@talks_to_api
def watch(
    remote: Remote,
    job: JobId,
    events: Annotated[bool, typer.Option("--events", help="Print the events; with --json, one a line.")] = False,
) -> None:
    """Follow a job until it ends.  Exits with 0 when it succeeded, and 1 when it did not."""
    from safelight.cli.progress import goes_on
    from safelight.cli.submit import follow

    with remote.connect() as client:
        job_id = finding.job_id(client, job)
        if not events:
            follow(remote, client, client.get(job_id), wait=True)
            return
        state = None
        with goes_on(job_id):
            for event in client.events(job_id):
                state = event.state or state
                data = json.dumps(event.data, ensure_ascii=False)
                line = {"id": event.id, "event": event.name, "data": event.data}
                typer.echo(json.dumps(line) if remote.as_json else f"{event.name:<16} {data}")
    if state != "succeeded":
        raise typer.Exit(output.FAILED)


@talks_to_api
def cancel(
    remote: Remote,
    jobs: Annotated[list[str], typer.Argument(metavar="ID…", help="One or more.")],
    chain: Annotated[bool, typer.Option("--chain", help="And every other job of their chains.")] = False,
) -> None:
    """Cancel jobs, and those that wait for them.  A running one stops at its next step."""
    with remote.connect() as client:
        done = [client.cancel(finding.job_id(client, job), chain=chain) for job in jobs]
    if remote.as_json:
        output.print_json({"items": [job.raw for job in done]})
        return
    for job in done:
        typer.echo(f"{job.id} {_canceled(job)}")


@talks_to_api
def reproduce(
    remote: Remote,
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it has ended.")] = True,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="Fetch the pictures.")] = None,
) -> None:
    """Run a job that succeeded once more, and say whether it made the same."""
    from safelight.cli.submit import follow

    with remote.connect() as client:
        follow(remote, client, client.reproduce(finding.job_id(client, job)), wait=wait, to=to)


@talks_to_api
def verify(remote: Remote, file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)]) -> None:
    """Say whether a picture was made here.  Exits with 1 when it was not."""
    from safelight.cli import views

    with remote.connect() as client:
        found = client.verify(file)
    if remote.as_json:
        output.print_json(found)
    else:
        views.print_verdict(found)
    if not found.get("made_here"):
        raise typer.Exit(output.FAILED)


@talks_to_api
def retry(
    remote: Remote,
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it has ended.")] = False,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="Wait, and fetch the pictures.")] = None,
) -> None:
    """Submit a failed, canceled or expired job again, as a new one."""
    from safelight.cli.submit import follow

    with remote.connect() as client:
        follow(remote, client, client.retry(finding.job_id(client, job)), wait=wait or to is not None, to=to)


@talks_to_api
def rm(remote: Remote, jobs: Annotated[list[str], typer.Argument(metavar="ID…", help="One or more.")]) -> None:
    """Delete jobs that have ended, and their pictures.  For good."""
    with remote.connect() as client:
        found = [finding.job_id(client, job) for job in jobs]
        for job_id in found:
            client.delete(job_id)
            if not remote.as_json:
                typer.echo(f"{job_id} is deleted")
    if remote.as_json:
        output.print_json({"deleted": found})


@talks_to_api
def download(
    remote: Remote,
    job: JobId,
    to: Annotated[Path, typer.Option("--output", "-o", help="A folder, or a file name.")] = Path(),
) -> None:
    """Fetch a job's pictures, checked against their SHA-256."""
    from safelight.cli import views

    with remote.connect() as client:
        found = client.get(finding.job_id(client, job))
        paths = client.download(found, to)
    if remote.as_json:
        output.print_json({"id": found.id, "state": found.state, "files": [str(path) for path in paths]})
    elif paths:
        views.print_result(found, paths)
    else:
        output.print_error(f"job {found.id} has no pictures: it is {found.state}", f"safelight watch {found.id}")
    if not paths:
        raise typer.Exit(output.FAILED)


def _canceled(job: "Job") -> str:
    return "is canceled" if job.state == "canceled" else "will stop at its next step"
