"""A job's way on standard error: a bar on a terminal, one line for each change of state anywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from safelight.cli import output

if TYPE_CHECKING:
    from safelight.client import Job

COLOURS = {"succeeded": "green", "failed": "red", "canceled": "yellow", "expired": "yellow", "running": "cyan"}


def describe(job: "Job") -> str:
    """Where a job stands, in a few words: `queued, 3 ahead, done in about 4.0 s`."""
    if job.state == "queued" and job.queue and job.queue.position is not None:
        more = "+" if job.queue.position_capped else ""
        ahead = f"{job.queue.position}{more} ahead" if job.queue.position else "next"
        eta = job.queue.eta_seconds
        return f"queued, {ahead}" + (f", done in about {output.duration(eta)}" if eta and eta >= 1 else "")
    if job.state == "running" and job.progress:
        steps = f" {job.progress.step}/{job.progress.total_steps}" if job.progress.total_steps else ""
        return f"{job.progress.phase or 'running'}{steps}"
    if job.state == "succeeded":
        return f"succeeded, {len(job.artifacts)} picture{'' if len(job.artifacts) == 1 else 's'}"
    if job.error:
        return f"{job.state}: {job.error.detail or job.error.code}"
    return job.state


class JobProgress:
    """Called with every view of one job; a context manager, because it holds a line of the terminal."""

    def __init__(self, label: str, *, show: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._label = label
        self._lines = show and not sys.stderr.isatty()
        self._state = ""
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not show or self._lines,
        )
        self._row = self._progress.add_task(label, total=None, status="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, job: "Job") -> None:
        """Show this view."""
        step, total = (job.progress.step, job.progress.total_steps or None) if job.progress else (0, None)
        if job.is_final:
            step, total = (1, 1) if job.succeeded else (0, 1)
        self._progress.update(self._row, total=total, completed=step, status=describe(job))
        if job.is_final:
            self._progress.stop_task(self._row)
        if self._lines and job.state != self._state:
            typer.echo(f"{self._label}: {describe(job)}", err=True)
        self._state = job.state


@contextmanager
def goes_on(job_id: str) -> Iterator[None]:
    """Ctrl-C ends the waiting and not the job: say so."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nJob {job_id} goes on.", err=True)
        typer.echo(f"  watch it: safelight watch {job_id}\n  end it:   safelight cancel {job_id}", err=True)
        raise typer.Exit(output.INTERRUPTED) from None
