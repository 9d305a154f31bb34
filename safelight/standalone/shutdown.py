"""``down``: end the supervisor of a home folder, and whatever a supervisor that was killed has left behind."""

import os
import signal
import time
from dataclasses import dataclass, field

from safelight.standalone import recovery
from safelight.standalone import state as states
from safelight.standalone.errors import StandaloneError
from safelight.standalone.layout import Layout

LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """What ``down`` found and did."""

    was_running: bool
    pid: int | None = None
    killed: bool = False
    left_behind: list[str] = field(default_factory=list)


def bring_down(layout: Layout, *, timeout_seconds: float, now: bool = False) -> Ended:
    """Ask the supervisor to end and wait; kill it when it takes longer than ``timeout_seconds``.

    ``now`` tells it not to wait for work in progress.
    """
    if not layout.home.exists():
        return Ended(was_running=False)
    pid = states.holder(layout)
    killed = False
    if pid is not None:
        _signal(pid, signal.SIGTERM)
        if now:
            _signal_again(layout, pid)
        if not _wait_until_free(layout, timeout_seconds):
            _signal(pid, signal.SIGKILL)
            killed = _wait_until_free(layout, 5.0)
    with states.lock(layout):
        return Ended(was_running=pid is not None, pid=pid, killed=killed, left_behind=recovery.clean_up(layout))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        message = f"Safelight (pid {pid}) belongs to another user"
        raise StandaloneError(message, remedy="end it as that user, or as root") from error


def _signal_again(layout: Layout, pid: int) -> None:
    """Only once it has taken the first one: two equal signals that wait together are one."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and states.is_locked(layout):
        state = states.load(layout)
        if state is not None and state.pid == pid and state.phase == "stopping":
            _signal(pid, signal.SIGTERM)
            return
        time.sleep(LOOK_EVERY_SECONDS)


def _wait_until_free(layout: Layout, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while states.is_locked(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_SECONDS)
    return True
