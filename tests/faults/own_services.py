"""Postgres, Valkey and SeaweedFS of a test's own, each of which may be killed, frozen and started again.

    with own_services() as services:
        services.seaweed.freeze()

The session's services (`tests.services`) are shared and stay up; these are for whoever wants to hurt them. They run as
the product runs them, fsync included, so that a Postgres that was cut off comes back with everything it had promised.
Start them from the main thread: the kernel ends them with it, however this process ends.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from models.migrate import migrate
from models.settings import Settings
from models.storage import Storage
from safelight.standalone import postgres
from safelight.standalone import services as embedded
from safelight.standalone.layout import Layout
from safelight.standalone.process import child_environment, death_signal, end_group
from safelight.standalone.spec import ProcessSpec

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass
class Service:
    """One server process; the same data and port whenever it is started again."""

    spec: ProcessSpec
    home: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self, *, wait: bool = True) -> None:
        """Run it; waits until it answers."""
        if self.spec.prepare is not None:
            self.spec.prepare()
        user = postgres.system_user() if self.spec.user else None
        with (self.home / "logs" / f"{self.spec.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(self.spec, {}, self.home),
                cwd=self.spec.folder,
                start_new_session=True,
                preexec_fn=death_signal(signal.SIGKILL),  # noqa: PLW1509  # it only calls prctl
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """Until it answers."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            assert self._alive.poll() is None, f"{self.spec.name} ended with {self._alive.returncode}"
            assert time.monotonic() < deadline, f"{self.spec.name} does not answer after {seconds} s"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it takes requests now."""
        return self.spec.probe is None or self.spec.probe()

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it by this signal, and wait for its end. For Postgres SIGQUIT is the immediate shutdown."""
        process = self._alive
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        finally:
            end_group(process.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its connections and does nothing: what a hung machine looks like."""
        os.killpg(self._alive.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.killpg(self._alive.pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill what is left of it, in whatever state it is."""
        if self.process is None:
            return
        if self.spec.name == "postgres" and self.process.poll() is None:
            # Killed, it would leave its shared memory behind.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(STOP_SECONDS)
        end_group(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def _alive(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None, f"{self.spec.name} was not started"
        return self.process


@dataclass(frozen=True)
class OwnServices:
    """The three, and the settings by which the application finds them: migrated, and with a bucket."""

    home: Path
    settings: Settings
    postgres: Service
    valkey: Service
    seaweed: Service


@contextlib.contextmanager
def own_services(
    *, unsafe: bool = False, change: Callable[[ProcessSpec], ProcessSpec] = lambda spec: spec
) -> Iterator[OwnServices]:
    """Bring the three up in a fresh folder, and leave nothing at the end.

    `unsafe`: fsync off. `change` may give a server other options: `replace(spec, argv=(*spec.argv, "-c", "…"))`.
    """
    home = Path(tempfile.mkdtemp(prefix="safelight-faults-"))
    running: list[Service] = []
    try:
        plan = embedded.plan(Layout.at(home), unsafe=unsafe)
        running += [Service(change(spec), home) for spec in plan.specs]
        for service in running:
            service.start(wait=False)
        for service in running:
            service.wait()
        values = {name.removeprefix("SAFELIGHT_").lower(): value for name, value in plan.environment.items()}
        more = {"home": home, "checkpoint_cache": home / "checkpoints", "log_format": "text"}
        settings = Settings.model_validate({**values, **more})
        migrate(settings)
        Storage(settings).ensure_bucket()
        by_name = {service.spec.name: service for service in running}
        yield OwnServices(home, settings, by_name["postgres"], by_name["valkey"], by_name["seaweed"])
    finally:
        for service in running:
            service.end()
        shutil.rmtree(home, ignore_errors=True)
