"""What the tests of the standalone room share: a home folder of their own, and supervisors that always end."""

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from safelight.standalone.layout import Layout
from safelight.standalone.process import MARKER
from safelight.standalone.shutdown import bring_down
from tests.services import Services, running_services

FAKES = Path(__file__).with_name("fakes.py")
PATIENCE_SECONDS = 30.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.1)


def left_behind(home: Path) -> list[str]:
    """Every process that belongs to this home folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            of_postgres = str(home / "data" / "postgres") in words
            if of_postgres or process.environ().get(MARKER) == str(home):
                found.append(f"{process.pid} {' '.join(words)}")
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    """A fresh home folder, not under pytest's own: another system user must be able to pass through."""
    folder = Path(tempfile.mkdtemp(prefix="safelight-test-")).resolve()
    folder.chmod(0o711)
    yield folder / "home"
    if (folder / "home").exists():
        bring_down(Layout.at(folder / "home"), timeout_seconds=5, now=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def services() -> Iterator[Services]:
    """The embedded services, once for all tests of this room that only use them."""
    with running_services() as running:
        yield running


class Up:
    """A supervisor in a process of its own, over fakes."""

    def __init__(self, home: Path, *, external: bool = True, port: int | None = None, behave: str = "{}") -> None:
        self.home = home
        self.journal = home.with_name("journal")
        argv = [sys.executable, str(FAKES), "up", str(self.journal), "--home", str(home), "--behave", behave]
        argv += ["--external"] if external else []
        argv += ["--port", str(port)] if port else []
        dummies = {f"SAFELIGHT_{name}": "somewhere" for name in ("DATABASE_URL", "REDIS_URL", "S3_BUCKET")}
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **dummies}
        self.process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.strip())

    def line(self) -> str:
        """What it says next: recovered, ready, error or stopped."""
        return self._said.get(timeout=PATIENCE_SECONDS)

    def url(self) -> str:
        """Wait until it is ready; where its API is."""
        while not (line := self.line()).startswith("ready"):
            assert line.startswith("recovered"), line
        return line.split()[1]

    def events(self) -> list[str]:
        """What happened to the children so far, in order, without the pids."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [" ".join(line.split()[:2]) for line in lines]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> str:
        """Ask it to stop; everything that it still said."""
        self.process.terminate()
        return self.rest()

    def rest(self) -> str:
        """Wait until it has ended; everything that it still said."""
        self.process.wait(timeout=PATIENCE_SECONDS)
        self._listener.join(timeout=PATIENCE_SECONDS)
        return "\n".join(self._said.get() for _ in range(self._said.qsize()))

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()
        self._listener.join(timeout=PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def up(home: Path) -> Iterator[Callable[..., Up]]:
    """Start supervisors over fakes on the test's home folder; each is gone at the end."""
    started: list[Up] = []

    def start(**more: object) -> Up:
        started.append(Up(home, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.close()
