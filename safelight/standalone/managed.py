"""One supervised process through its life: prepare, start, become ready, crash and come back, stop.

The order among several is not here.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from safelight.standalone import process as processes
from safelight.standalone.errors import StandaloneError, StartFailedError
from safelight.standalone.logs import Journal
from safelight.standalone.spec import Kind, Phase, ProcessSpec

PROBE_EVERY_SECONDS = 0.05
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
LAST_WORDS_SECONDS = 2.0
#: Up for this long, and the next crash counts as the first again.
STEADY_SECONDS = 60.0


class Managed:
    """A line of the process table, alive.  ``changed`` is called at every step, for the state file."""

    def __init__(self, spec: ProcessSpec, journal: Journal, home: Path, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.journal = journal
        self.phase = Phase.WAITING
        self.pid: int | None = None
        self.created: float | None = None
        self.started_at: float | None = None
        self.ready_at: float | None = None
        self.restarts = 0
        self.exit_code: int | None = None
        self.ready = asyncio.Event()
        self._home = home
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._late = False

    def _move(self, phase: Phase) -> None:
        self.phase = phase
        self._changed()

    async def run(self, shared: Mapping[str, str]) -> None:
        """Keep the process running until ``stop``; a task runs once.

        Raises StartFailedError when it fails before it was ever ready.
        """
        delay = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                await self._run_once(shared)
            except (StandaloneError, OSError) as error:
                if not self.ready.is_set():
                    self._move(Phase.FAILED)
                    raise
                self.journal.note("ERROR", f"could not start: {error}")
            if self._stopping.is_set() or self.phase is Phase.DONE:
                return
            if not self.ready.is_set():
                self._move(Phase.FAILED)
                raise self._failure()
            if time.monotonic() - started >= STEADY_SECONDS:
                delay = FIRST_BACKOFF_SECONDS
            self.restarts += 1
            self.journal.note("ERROR", f"ended with {self._ending()}; starting it again in {delay:g} s")
            self._move(Phase.BACKOFF)
            await _wait(self._stopping, delay)
            delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)

    async def _run_once(self, shared: Mapping[str, str]) -> None:
        self._move(Phase.STARTING)
        if self.spec.prepare is not None:
            await asyncio.to_thread(self.spec.prepare)
        if self._stopping.is_set():
            return
        self._process = process = await processes.spawn(self.spec, shared, self._home)
        self.pid, self.started_at, self.ready_at, self.exit_code = process.pid, time.time(), None, None
        self.created = _creation(process.pid)
        self._changed()
        if self._stopping.is_set():  # asked to stop while it was being started
            processes.end_group(process.pid, self.spec.stop_signal)
        reading = asyncio.ensure_future(self._read(process))
        watching = asyncio.ensure_future(self._watch(process))
        self.exit_code = await process.wait()
        await watching
        # Whatever it started must not keep running beside the next one, nor hold the pipe open.
        processes.end_group(process.pid, signal.SIGKILL)
        await asyncio.wait({reading}, timeout=LAST_WORDS_SECONDS)
        reading.cancel()
        self.pid = self.created = None
        if self.spec.kind is Kind.TASK and self.exit_code == 0:
            self._move(Phase.DONE)
            self.ready.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  spawn() asks for the pipe
        while data := await process.stdout.read(65_536):
            self.journal.feed(data)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Wait until it answers; end it when that takes too long."""
        deadline = time.monotonic() + self.spec.ready_seconds
        while process.returncode is None and not self._stopping.is_set():
            if self.spec.kind is not Kind.TASK and await self._answers():
                self.ready_at = time.time()
                self.journal.note("INFO", f"ready after {self.ready_at - (self.started_at or 0.0):.1f} s")
                self._move(Phase.READY)
                self.ready.set()
                return
            if time.monotonic() > deadline:
                self._late = True
                self.journal.note("ERROR", f"not ready after {self.spec.ready_seconds:g} s")
                processes.end_group(process.pid, signal.SIGKILL)
                return
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _answers(self) -> bool:
        if self.spec.ready_text is not None:
            return any(self.spec.ready_text in text for text in self.journal.tail)
        return self.spec.probe is None or await asyncio.to_thread(self.spec.probe)

    async def stop(self, hurry: asyncio.Event) -> None:
        """End it, in the way and within the time that its line of the table says."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._move(Phase.STOPPING)
            await processes.stop(self._process, self.spec, hurry)

    def finished(self) -> None:
        """Called once ``run`` has returned."""
        if self.phase not in {Phase.DONE, Phase.FAILED}:
            self._move(Phase.STOPPED)
        self.journal.close()

    def _ending(self) -> str:
        code = self.exit_code or 0
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def _failure(self) -> StandaloneError:
        lines = "\n".join(f"  | {text}" for text in self.journal.tail)
        late = f"was not ready after {self.spec.ready_seconds:g} s, and was ended"
        ending = late if self._late else f"ended with {self._ending()} before it was ready"
        message = f"{self.spec.name} {ending}\n{lines}".rstrip()
        return StartFailedError(
            message, remedy=f"see {self._home / 'logs' / self.spec.name}.log, then safelight doctor"
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    await asyncio.wait({waiting := asyncio.ensure_future(event.wait())}, timeout=seconds)
    waiting.cancel()


def _creation(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
