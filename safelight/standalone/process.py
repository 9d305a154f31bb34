"""Starting a process so that it outlives a Ctrl-C and does not outlive us, and ending it with all that it started.

A child gets its own session (the terminal's Ctrl-C reaches only the supervisor) and, on Linux, a death signal: the
kernel ends it when the supervisor's main thread dies, however that happens.  So children are started from that thread.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from safelight.standalone import postgres
from safelight.standalone.spec import Kind, ProcessSpec

#: In every child's environment, so that a later run recognises what an earlier one left behind.
MARKER = "SAFELIGHT_SUPERVISED_HOME"
PR_SET_PDEATHSIG = 1
HURRIED_SECONDS = 5.0
KEPT_FOR_SERVICES = ("PATH", "LANG", "TZ", "TMPDIR")

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def death_signal(number: signal.Signals) -> Callable[[], None] | None:
    """What a child runs between fork and exec; None where the system knows no death signal.

    Only calls into libc and the system: other threads of ours may hold locks at the moment of the fork.
    """
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def hook() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return hook


def child_environment(spec: ProcessSpec, shared: Mapping[str, str], home: Path) -> dict[str, str]:
    """What a child is told.

    The application gets all of our environment, services get little: an AWS key in it would become an identity of
    SeaweedFS.
    """
    if spec.kind is Kind.SERVICE:
        kept = {name: os.environ[name] for name in KEPT_FOR_SERVICES if name in os.environ}
        base = {"HOME": str(home / "run"), "PATH": os.defpath, **kept}
    else:
        base = {**os.environ, "PYTHONUNBUFFERED": "1", **shared}
    return {**base, **spec.environment, MARKER: str(home)}


async def spawn(spec: ProcessSpec, shared: Mapping[str, str], home: Path) -> asyncio.subprocess.Process:
    """Start the process, its output on one pipe."""
    user = postgres.system_user() if spec.user else None
    return await asyncio.create_subprocess_exec(
        *spec.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=child_environment(spec, shared, home),
        cwd=spec.folder,
        start_new_session=True,
        preexec_fn=death_signal(spec.stop_signal),
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


async def stop(process: asyncio.subprocess.Process, spec: ProcessSpec, hurry: asyncio.Event) -> None:
    """Ask it to end, wait for as long as it may drain (or until told to hurry), then end its whole session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(spec.stop_signal)
        gone = asyncio.ensure_future(process.wait())
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({gone, hurried}, timeout=spec.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            # Even in a hurry it gets a moment: a worker to give its job back, a service to write what it must.
            if spec.hurry_signal is not None:
                process.send_signal(spec.hurry_signal)
            await asyncio.wait({gone}, timeout=HURRIED_SECONDS)
        hurried.cancel()
        end_group(process.pid, signal.SIGKILL)
        await gone
    end_group(process.pid, signal.SIGKILL)


def end_group(leader: int, number: signal.Signals) -> None:
    """Signal whatever is left of the process group that ``leader`` founded."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
