"""``status``: what runs on a home folder, from the supervisor's state and from what the system says now."""

import time
from dataclasses import dataclass

from safelight.standalone import state as states
from safelight.standalone.layout import Layout
from safelight.standalone.spec import Kind, Phase


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One line of the table."""

    name: str
    kind: str
    phase: str
    ready: bool
    pid: int | None
    uptime_seconds: float | None
    restarts: int
    exit_code: int | None
    ports: dict[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """A home folder as it is now."""

    home: str
    running: bool
    ready: bool
    phase: str
    pid: int | None = None
    url: str | None = None
    external: bool = False
    uptime_seconds: float | None = None
    error: str | None = None
    processes: tuple[ProcessStatus, ...] = ()


def look(layout: Layout) -> Status:
    """The status of this home folder.  Changes nothing."""
    pid = states.holder(layout)
    state = states.load(layout)
    if pid is None:
        return Status(
            str(layout.home), running=False, ready=False, phase=Phase.STOPPED, error=state.error if state else None
        )
    if state is None or state.pid != pid:  # it holds the lock and has not come further yet
        return Status(str(layout.home), running=True, ready=False, phase=Phase.STARTING, pid=pid)
    now = time.time()
    processes = tuple(_line(process, now) for process in state.processes)
    return Status(
        home=str(layout.home),
        running=True,
        ready=state.phase == Phase.READY and all(process.ready for process in processes),
        phase=state.phase,
        pid=pid,
        url=state.url or None,
        external=state.external,
        uptime_seconds=round(now - state.started_at, 1),
        processes=processes,
    )


def _line(process: states.ProcessState, now: float) -> ProcessStatus:
    alive = states.is_same_process(process.pid, process.created)
    done = process.kind == Kind.TASK and process.phase == Phase.DONE
    return ProcessStatus(
        name=process.name,
        kind=process.kind,
        phase=process.phase,
        ready=done or (alive and process.phase == Phase.READY),
        pid=process.pid if alive else None,
        uptime_seconds=round(now - process.started_at, 1) if alive and process.started_at else None,
        restarts=process.restarts,
        exit_code=process.exit_code,
        ports=process.ports,
    )
