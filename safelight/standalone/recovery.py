"""Ending what a supervisor that was killed has left behind.  Called only by whoever holds the lock of the home folder.

Most children die with their supervisor (see ``process``).  The rest are recognised by the marker in their environment,
by the session that a recorded child founded, or, for Postgres (which overwrites its environment), by the pid file in
its data folder.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from safelight.standalone import state as states
from safelight.standalone.layout import Layout
from safelight.standalone.process import MARKER

GENTLE_SECONDS = 3.0
POSTGRES_SECONDS = 20.0


def clean_up(layout: Layout) -> list[str]:
    """End every process of an earlier run.  Returns what was ended, for the person to read."""
    ended = _end_postgres(layout.postgres)
    left = [process for process in _left_behind(layout) if process.is_running()]
    ended += [f"{process.name()} (pid {process.pid})" for process in left]
    _end(left, signal.SIGTERM, GENTLE_SECONDS)
    return ended


def _left_behind(layout: Layout) -> Iterator[psutil.Process]:
    previous = states.load(layout)
    founders = {process.pid: process.created for process in previous.processes if process.pid} if previous else {}
    home = str(layout.home)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            founded = founders.get(os.getsid(process.pid))
            in_session = founded is not None and process.create_time() > founded - 1.0
            # Postgres' own children work in its data folder, and hold its memory when their parent was killed.
            of_postgres = process.name() == "postgres" and process.cwd() == str(layout.postgres)
            if in_session or of_postgres or process.environ().get(MARKER) == home:
                yield process


def _end_postgres(folder: Path) -> list[str]:
    pid_file = folder / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        process = psutil.Process(pid)
        ours = str(folder) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        ours = False
    except psutil.AccessDenied:  # somebody runs under that number, and may be using the folder
        return []
    if not ours:
        # Its number may have gone to another program, and then Postgres would refuse to start.
        pid_file.unlink(missing_ok=True)
        return []
    children = process.children(recursive=True)
    _end([process], signal.SIGINT, POSTGRES_SECONDS)
    _end(children, signal.SIGQUIT, GENTLE_SECONDS)
    return [f"postgres (pid {pid})"]


def _end(processes: Iterable[psutil.Process], number: signal.Signals, seconds: float) -> None:
    """Ask all of them to end, wait, and kill those that are still there."""
    asked = list(processes)
    for process in asked:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
    _gone, alive = psutil.wait_procs(asked, timeout=seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=seconds)
