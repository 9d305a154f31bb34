"""An installation for as long as a block lasts: the running one, which is left alone, or one that is started for it."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from safelight.cli import output

READY_SECONDS = 120.0
STOP_SECONDS = 120.0
TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Installation:
    """What runs, and how long each part of its start took; nothing when it ran before."""

    url: str
    home: Path
    was_running: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def docs_url(self) -> str:
        """Where the API's documentation is."""
        return f"{self.url}/docs"


@contextmanager
def installation(home: Path, *, keep: bool = False, show: bool = True) -> Iterator[Installation]:
    """Whatever was started is stopped at the end of the block, also after an error, Ctrl-C or SIGTERM.

    ``keep`` leaves it running when all went well.  Raises StandaloneErrors.
    """
    from safelight.standalone.layout import Layout
    from safelight.standalone.overview import look

    layout = Layout.at(home)
    if look(layout).running:
        yield Installation(_until_ready(layout), layout.home, was_running=True)
        return
    with _sigterm_is_an_exit():
        with spinner("Starting Postgres, Valkey, S3, the API and the workers", show=show):
            started = _start(layout)
        left_running = False
        try:
            yield started
            left_running = keep
        finally:
            if not left_running:
                began = time.monotonic()
                with spinner("Stopping", show=show):
                    _stop(layout)
                started.seconds["stop"] = time.monotonic() - began


@contextmanager
def spinner(text: str, *, show: bool = True) -> Iterator[None]:
    """A line on standard error while the block lasts; it moves on a terminal."""
    if not show:
        yield
        return
    if not sys.stderr.isatty():
        typer.echo(f"{text} …", err=True)
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{text} …"):
        yield


def _start(layout: Any) -> Installation:
    from safelight.standalone import launch
    from safelight.standalone import state as states

    argv = ["-m", "safelight.cli", "up", "--home", str(layout.home)]
    ready = launch.detach(launch.Options(home=layout.home), argv)
    state = states.load(layout)
    seconds = _parts(state) if state else {}
    return Installation(ready.url, layout.home, was_running=False, seconds={**seconds, "start": ready.seconds})


def _parts(state: Any) -> dict[str, float]:
    """From the moments at which the supervisor started each process: one starts when what it needs is ready."""
    began = {process.name: process.started_at for process in state.processes}
    migrate, api, ready = began.get("migrate"), began.get("api"), state.ready_at
    if not (migrate and api and ready):
        return {}
    return {"services": migrate - state.started_at, "migration": api - migrate, "application": ready - api}


def _stop(layout: Any) -> None:
    from safelight.standalone.shutdown import bring_down

    bring_down(layout, timeout_seconds=STOP_SECONDS)


def _until_ready(layout: Any) -> str:
    """The address of an installation that somebody else started, perhaps a moment ago."""
    from safelight.standalone.errors import StartFailedError
    from safelight.standalone.overview import look

    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = look(layout)
        if found.ready and found.url:
            return found.url
        if not found.running:
            break
        time.sleep(0.1)
    raise StartFailedError(
        f"Safelight runs on {layout.home}, and did not become ready", remedy="safelight status says what is missing"
    )


@contextmanager
def _sigterm_is_an_exit() -> Iterator[None]:
    """So that what was started is also stopped when we are told to end."""

    def leave(_number: int, _frame: Any) -> None:
        raise SystemExit(TERMINATED)

    before: Any = None
    with contextlib.suppress(ValueError):  # not the main thread: then nobody signals us
        before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def print_times(seconds: dict[str, float], names: dict[str, str]) -> None:
    """One line a part, in the order of ``names``."""
    width = max(len(text) for text in names.values())
    for name, text in names.items():
        if name in seconds:
            typer.echo(f"  {text:<{width}}  {output.duration(seconds[name]):>12}")
