"""A real gunicorn process of the API, as it is run in production."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from models.settings import Settings
from tests.api.helpers import free_port
from tests.conftest import settings_environment

START_SECONDS = 40
STOP_SECONDS = 30
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """A running server and where it logs."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    clients: list[httpx.Client] = field(default_factory=list)

    def client(self, key: str, **more: Any) -> httpx.Client:
        """An HTTP client with this key; closed with the server."""
        made = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=20, **more)
        self.clients.append(made)
        return made

    def terminate(self) -> int:
        """Stop it as a supervisor would; its exit status."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running_server(settings: Settings, log: Path) -> Iterator[Server]:
    """Start gunicorn with these settings, and end it with the block."""
    port = free_port()
    given = settings.model_copy(update={"api_port": port})
    argv = [sys.executable, "-m", "gunicorn", "-c", "python:api.gunicorn_conf", "api.wsgi:app"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, cwd=ROOT, env={**os.environ, **settings_environment(given)}, stdout=stream, stderr=stream
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_for(server)
        yield server
    finally:
        for client in server.clients:
            client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{server.url}/v1/health/live").status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{server.log.read_text()[-3000:]}")
