"""One supervisor for all processes: starts each as soon as what it needs is ready, keeps them up, ends them in order.

It is the only parent, and everything happens on one event loop in the main thread (``process`` says why that matters).
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from safelight.standalone import state as states
from safelight.standalone.layout import Layout
from safelight.standalone.logs import Journal, Line
from safelight.standalone.managed import Managed
from safelight.standalone.spec import Phase, ProcessSpec

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """Runs a process table until it is told to stop.

    ``listener`` hears every log line, ``on_ready`` is called once when everything is ready.
    """

    def __init__(
        self,
        layout: Layout,
        specs: Sequence[ProcessSpec],
        environment: Mapping[str, str],
        *,
        url: str = "",
        external: bool = False,
        listener: Callable[[Line], None] = lambda _line: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._environment = environment
        self._url = url
        self._external = external
        self._on_ready = on_ready
        self._phase = Phase.STARTING
        self._started_at = time.time()
        self._ready_at: float | None = None
        self._error: Exception | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._journal = Journal("supervisor", layout.logs, listener)
        self.managed = {
            spec.name: Managed(spec, Journal(spec.name, layout.logs, listener), layout.home, self._save)
            for spec in specs
        }

    async def run(self) -> None:
        """Start everything, stay until a signal or ``request_stop``, end everything.

        Raises the error of a process that could not be started; by then everything has been ended.
        """
        loop = asyncio.get_running_loop()
        # nohup has a hangup ignored, and means it.
        heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heeded:
            loop.add_signal_handler(number, self.request_stop)
        self._save()
        runs = {name: loop.create_task(self._run_one(managed), name=name) for name, managed in self.managed.items()}
        try:
            await self._until_told(runs)
        finally:
            await self._end(runs)
            for number in heeded:
                loop.remove_signal_handler(number)
        if self._error is not None:
            raise self._error

    def request_stop(self) -> None:
        """Begin to stop; a second call ends the waiting for processes that drain."""
        if self._stop.is_set():
            self._journal.note("WARNING", "told to hurry: not waiting for work in progress")
            self._hurry.set()
        self._stop.set()

    async def _run_one(self, managed: Managed) -> None:
        for name in managed.spec.needs:
            if name in self.managed:
                await self.managed[name].ready.wait()
        try:
            await managed.run(self._environment)
        finally:
            managed.finished()

    async def _until_told(self, runs: Mapping[str, asyncio.Task[None]]) -> None:
        """Return when a stop was asked for, or a process failed for good; say so once everything is ready."""
        told, ready = asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(self._all_ready())
        waiting: set[asyncio.Task[Any]] = {told, ready, *runs.values()}
        while not told.done() and self._error is None:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if isinstance(error := task.exception(), Exception)]
            if errors:
                self._error = errors[0]
                self._journal.note("ERROR", str(self._error).splitlines()[0])
            elif ready in done:
                self._phase, self._ready_at = Phase.READY, time.time()
                self._save()
                self._on_ready()
        told.cancel()
        ready.cancel()

    async def _all_ready(self) -> None:
        for managed in self.managed.values():
            await managed.ready.wait()

    async def _end(self, runs: Mapping[str, asyncio.Task[None]]) -> None:
        self._phase = Phase.STOPPING
        self._save()
        alive = sorted(self.managed.values(), key=lambda managed: managed.spec.stop_rank)
        for managed in alive:
            if managed.phase is Phase.WAITING:
                runs[managed.spec.name].cancel()
        for _rank, group in itertools.groupby(alive, key=lambda managed: managed.spec.stop_rank):
            together = list(group)
            await asyncio.gather(*(managed.stop(self._hurry) for managed in together))
            await asyncio.wait([runs[managed.spec.name] for managed in together])
        self._phase = Phase.FAILED if self._error else Phase.STOPPED
        self._save()
        self._journal.close()

    def _save(self) -> None:
        processes = tuple(
            states.ProcessState(
                name=managed.spec.name,
                kind=managed.spec.kind,
                phase=managed.phase,
                pid=managed.pid,
                created=managed.created,
                started_at=managed.started_at,
                ready_at=managed.ready_at,
                restarts=managed.restarts,
                exit_code=managed.exit_code,
                ports=dict(managed.spec.ports),
            )
            for managed in self.managed.values()
        )
        state = states.State(
            pid=os.getpid(),
            created=psutil.Process().create_time(),
            phase=self._phase,
            url=self._url,
            external=self._external,
            started_at=self._started_at,
            ready_at=self._ready_at,
            error=str(self._error) if self._error else None,
            remedy=getattr(self._error, "remedy", None),
            processes=processes,
        )
        with contextlib.suppress(OSError):  # a full disk must not end what runs; the state only informs
            states.save(self._layout, state)
