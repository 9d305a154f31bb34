"""The vocabulary of the process table: what a supervised process is.

A leaf: it starts nothing and imports nothing of ours.
"""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

# Who stops when: first nobody gets in, then the work in hand is finished, then the helpers end, then the services.
API_RANK, WORKER_RANK, SCHEDULER_RANK, SERVICE_RANK = range(4)


class Kind(StrEnum):
    """How the supervisor treats the end of a process."""

    SERVICE = "service"  # infrastructure of ours: restarted, stopped last
    DAEMON = "daemon"  # the application: restarted when it ends
    TASK = "task"  # runs once while starting, and must exit 0


class Phase(StrEnum):
    """Where one process stands.  Only the supervisor moves it.

    waiting → starting → ready → stopping → stopped; a crash moves starting or ready → backoff → starting; a task ends
    in done; one that cannot start ends in failed.
    """

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One line of the process table."""

    name: str
    argv: tuple[str, ...]
    kind: Kind = Kind.DAEMON
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    #: A system user to become; only meaningful for root.
    user: str | None = None
    #: Blocking work before every start, run in a thread.
    prepare: Callable[[], None] | None = None
    #: Blocking, quick, asked again and again; None means ready as soon as it runs.
    probe: Callable[[], bool] | None = None
    #: Instead of a probe: the process says this in its log when it is ready.
    ready_text: str | None = None
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    #: Told once the time is up, or a person is in a hurry; then it has a moment left.
    hurry_signal: signal.Signals | None = None
    drain_seconds: float = 10.0
    #: Lower ranks stop first; equal ranks stop together.
    stop_rank: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)
