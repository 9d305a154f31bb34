"""``up``: lay out what shall run, then supervise it here, or in a process of its own that outlives the terminal."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safelight.standalone import children, recovery, services
from safelight.standalone import ports as port_choice
from safelight.standalone import state as states
from safelight.standalone.errors import StandaloneError, StartFailedError
from safelight.standalone.layout import DEFAULT_HOME, Layout
from safelight.standalone.logs import Line
from safelight.standalone.spec import Phase, ProcessSpec
from safelight.standalone.supervisor import Supervisor

REQUIRED_EXTERNAL = ("SAFELIGHT_DATABASE_URL", "SAFELIGHT_REDIS_URL", "SAFELIGHT_S3_BUCKET")
EXTERNAL = (
    *REQUIRED_EXTERNAL,
    "SAFELIGHT_S3_ENDPOINT_URL",
    "SAFELIGHT_S3_REGION",
    "SAFELIGHT_S3_ACCESS_KEY_ID",
    "SAFELIGHT_S3_SECRET_ACCESS_KEY",
)
DETACHED_OUTPUT = "up.log"
LOOK_EVERY_SECONDS = 0.05

# Nobody waits for these, and Python would complain about each when it forgets it.
_detached: list[subprocess.Popen[bytes]] = []

Table = Callable[[Layout, children.Application], Sequence[ProcessSpec]]


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may say to ``up``."""

    home: Path = DEFAULT_HOME
    host: str = port_choice.LOOPBACK
    port: int | None = None
    external: bool = False
    gpu_workers: int = 1
    cpu_workers: int = 1


@dataclass(frozen=True, slots=True)
class Ready:
    """What a person wants to know once everything runs."""

    url: str
    home: Path
    key_file: Path
    pid: int
    seconds: float

    @property
    def docs_url(self) -> str:
        """Where the API's documentation is."""
        return f"{self.url}/docs"


def external_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the services are that somebody else runs.  Raises StandaloneError when that is not said."""
    missing = [name for name in REQUIRED_EXTERNAL if not environment.get(name)]
    if missing:
        raise StandaloneError(
            f"--external needs {', '.join(missing)} in the environment",
            remedy="set them, or leave --external out and use the embedded services",
        )
    return {name: environment[name] for name in EXTERNAL if name in environment}


def supervise(
    options: Options,
    *,
    listener: Callable[[Line], None] = lambda _line: None,
    on_ready: Callable[[Ready], None] = lambda _ready: None,
    on_recovered: Callable[[list[str]], None] = lambda _ended: None,
    table: Table = children.table,
) -> None:
    """Run everything in this process until a signal ends it.

    Raises AlreadyRunningError, PortTakenError, StartFailedError and other StandaloneErrors; nothing is left running.
    """
    began = time.monotonic()
    layout = Layout.at(options.home)
    layout.prepare()
    with states.lock(layout):
        left = recovery.clean_up(layout)
        if left:
            on_recovered(left)
        application = _application(layout, options)
        plan = None if options.external else services.plan(layout)
        found = plan.environment if plan else external_environment(os.environ)
        supervisor = Supervisor(
            layout,
            [*(plan.specs if plan else ()), *table(layout, application)],
            children.environment(layout, application, found),
            url=application.url,
            external=options.external,
            listener=listener,
            on_ready=lambda: on_ready(
                Ready(application.url, layout.home, layout.key_file, os.getpid(), time.monotonic() - began)
            ),
        )
        asyncio.run(supervisor.run())


def _application(layout: Layout, options: Options) -> children.Application:
    remembered = port_choice.load(layout.ports_file)
    port = port_choice.choose_api_port(options.port, remembered.get("api"), port_choice.DEFAULT_API_PORT, options.host)
    if options.port is None:
        port_choice.save(layout.ports_file, remembered | {"api": port})
    return children.Application(options.host, port, options.gpu_workers, options.cpu_workers)


def detach(options: Options, argv: Sequence[str]) -> Ready:
    """Start ``argv`` (a supervisor on the same home folder) away from the terminal, and wait until it is ready.

    Raises StartFailedError with what it said when it ends instead.
    """
    began = time.monotonic()
    layout = Layout.at(options.home)
    layout.prepare()
    if states.is_locked(layout):
        with states.lock(layout):  # it says best who holds it
            pass
    with (layout.logs / DETACHED_OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _detached.append(process)
    try:
        while process.poll() is None:
            state = states.load(layout)
            if state is not None and state.pid == process.pid and state.phase == Phase.READY:
                return Ready(state.url, layout.home, layout.key_file, process.pid, time.monotonic() - began)
            time.sleep(LOOK_EVERY_SECONDS)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    raise _why(layout, process)


def _why(layout: Layout, process: subprocess.Popen[bytes]) -> StartFailedError:
    state = states.load(layout)
    if state is not None and state.pid == process.pid and state.error:
        return StartFailedError(state.error, remedy=state.remedy or "")
    said = (layout.logs / DETACHED_OUTPUT).read_text(errors="replace").strip()
    return StartFailedError(f"it ended with exit code {process.returncode}: {said[-1000:]}")
