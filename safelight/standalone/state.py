"""What the supervisor tells others: a lock that it holds while it lives, and one JSON file of what it last did.

Readers trust the lock for *whether* a supervisor runs, and the file only for *what* it runs.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from safelight.standalone.errors import AlreadyRunningError
from safelight.standalone.layout import Layout, write_private


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as the supervisor last saw it."""

    name: str
    kind: str
    phase: str
    pid: int | None = None
    created: float | None = None
    started_at: float | None = None
    ready_at: float | None = None
    restarts: int = 0
    exit_code: int | None = None
    ports: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """One run of the supervisor."""

    pid: int
    created: float
    phase: str
    url: str
    started_at: float
    ready_at: float | None = None
    error: str | None = None
    remedy: str | None = None
    external: bool = False
    processes: tuple[ProcessState, ...] = ()


def save(layout: Layout, state: State) -> None:
    """Replace the state file."""
    write_private(layout.state_file, json.dumps(asdict(state), indent=1) + "\n")


def load(layout: Layout) -> State | None:
    """The last state of this home folder, whether or not that run still lives; None when there was none."""
    try:
        stored: dict[str, Any] = json.loads(layout.state_file.read_text())
        processes = tuple(ProcessState(**process) for process in stored.pop("processes"))
        return State(**stored, processes=processes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_same_process(pid: int | None, created: float | None) -> bool:
    """Whether that very process still runs; its number may have gone to another one."""
    if pid is None or created is None:
        return False
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - created) < 1.0) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def holder(layout: Layout) -> int | None:
    """The pid of the supervisor that runs on this home folder; None when none does."""
    if not is_locked(layout):
        return None
    with contextlib.suppress(OSError, ValueError):
        return int(layout.lock_file.read_text())
    return None


def is_locked(layout: Layout) -> bool:
    """Whether a supervisor runs on this home folder."""
    try:
        with layout.lock_file.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """Be the only supervisor of this home folder.  The system gives the lock back however we end.

    Raises AlreadyRunningError.
    """
    layout.run.mkdir(parents=True, exist_ok=True)
    with layout.lock_file.open("a") as file:
        if not _flock(file.fileno()):
            raise _already_running(layout)
        os.truncate(file.fileno(), 0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _flock(descriptor: int) -> bool:
    # Somebody who only looks (is_locked) may hold it for an instant.
    for _attempt in range(5):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _already_running(layout: Layout) -> AlreadyRunningError:
    state = load(layout)
    known = f" (pid {state.pid}, {state.url})" if state and is_same_process(state.pid, state.created) else ""
    message = f"Safelight runs already on {layout.home}{known}"
    return AlreadyRunningError(message, remedy="use it, end it with safelight down, or give another --home")
