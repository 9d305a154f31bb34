"""The product's processes under a small supervisor: several workers, two sweepers, the API, the dispatcher.

What dies is started again after a moment, together with everything that it had started, as `safelight up` would. Who
dies, and when, is `chaos`'s business. Only the main thread may use a fleet.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from models.settings import Settings
from safelight.standalone import ports
from safelight.standalone.process import death_signal, end_group
from tests.conftest import settings_environment

RESTART_SECONDS = 0.5
"""As long as the product's supervisor waits the first time."""


class Role(StrEnum):
    """What a member does."""

    API = "api"
    WORKER = "worker"
    SWEEPER = "sweeper"
    DISPATCHER = "dispatcher"


class Part(StrEnum):
    """Which process of a member."""

    MAIN = "main"
    """The one that the fleet started: Celery's main process, gunicorn's arbiter."""
    CHILD = "child"
    """Celery's child with the device, gunicorn's worker. Its parent starts another."""
    COURIER = "courier"


@dataclass
class Member:
    """One line of the fleet: a command, and the process that runs it now."""

    name: str
    role: Role
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    back_at: float = 0.0

    def start(self) -> None:
        """Run it, in a group of its own, to be ended with this process."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=death_signal(signal.SIGKILL),  # noqa: PLW1509  # it only calls prctl
            )
        self.starts += 1

    @property
    def alive(self) -> bool:
        """Whether its main process runs."""
        return self.process is not None and self.process.poll() is None

    def pid_of(self, part: Part) -> int | None:
        """The process of this part, or None while there is none."""
        if self.process is None or not self.alive:
            return None
        if part is Part.MAIN:
            return self.process.pid
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                if _part_of(child, self.role) is part:
                    return int(child.pid)
        return None

    def end(self) -> None:
        """Kill all of it."""
        if self.process is not None:
            end_group(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Fleet:
    """All members, and their watch."""

    settings: Settings
    members: list[Member]
    url: str

    def tend(self) -> None:
        """Start again what ended a moment ago. To be called often."""
        now = time.monotonic()
        for member in self.members:
            if member.alive:
                continue
            if member.process is not None and not member.back_at:
                # What it had started must not run beside the next one.
                end_group(member.process.pid, signal.SIGKILL)
                member.back_at = now + RESTART_SECONDS
            if now >= member.back_at:
                member.back_at = 0.0
                member.start()

    def of(self, role: Role) -> list[Member]:
        """The members with this role."""
        return [member for member in self.members if member.role is role]

    def hit(self, member: Member, part: Part, number: signal.Signals) -> bool:
        """Send one process of a member a signal. False when it does not run just now."""
        pid = member.pid_of(part)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def hit_all(self, member: Member, number: signal.Signals) -> bool:
        """Send every process of a member a signal."""
        if member.process is None or not member.alive:
            return False
        end_group(member.process.pid, number)
        return True

    def logs(self) -> str:
        """Everything that the members wrote."""
        return "".join(member.log.read_text(errors="replace") for member in self.members if member.log.exists())

    def end(self) -> None:
        """Kill everybody."""
        for member in self.members:
            member.end()


def make_fleet(
    settings: Settings,
    *,
    workers: int,
    sweepers: int = 2,
    dispatchers: int = 1,
    more: Mapping[Role, Mapping[str, str]] | None = None,
) -> Fleet:
    """A fleet on these settings that does not run yet. `more` adds to the environment of a role."""
    port = ports.assign(("api",), {})["api"]
    common = {**settings_environment(settings), "PYTHONUNBUFFERED": "1", "SAFELIGHT_API_PORT": str(port)}
    lines: list[tuple[str, Role, tuple[str, ...]]] = [
        ("api", Role.API, ("gunicorn", "-c", "python:api.gunicorn_conf", "api.wsgi:app")),
        *((f"worker-{number}", Role.WORKER, _worker(f"gpu-{number}")) for number in range(1, workers + 1)),
        *((f"sweeper-{number}", Role.SWEEPER, ("worker.sweeper",)) for number in range(1, sweepers + 1)),
        *((f"dispatcher-{number}", Role.DISPATCHER, ("worker.webhooks",)) for number in range(1, dispatchers + 1)),
    ]
    members = [
        Member(name, role, argv, {**common, **(more or {}).get(role, {})}, settings.home / "logs" / f"{name}.log")
        for name, role, argv in lines
    ]
    return Fleet(settings, members, f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def running_fleet(fleet: Fleet) -> Iterator[Fleet]:
    """Start everybody; nobody is left at the end."""
    try:
        fleet.tend()
        yield fleet
    finally:
        fleet.end()


def pick(fleet: Fleet, role: Role, dice: random.Random) -> Member:
    """Any member of a role."""
    return dice.choice(fleet.of(role))


def _worker(name: str) -> tuple[str, ...]:
    argv = ("celery", "-q", "-A", "tests.faults.fleet_app", "worker", "--pool", "prefork", "--concurrency", "1")
    return (*argv, "-Q", "gpu", "-n", f"{name}@%h", "--without-mingle", "--without-gossip")


def _part_of(process: psutil.Process, role: Role) -> Part | None:
    command = process.cmdline()
    if "worker.courier" in command:
        return Part.COURIER
    if role is Role.WORKER:
        # Billiard's semaphore tracker is a child as well; nothing of ours runs in it.
        return Part.CHILD if any("spawn_main" in word for word in command) else None
    return Part.CHILD
