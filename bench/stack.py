"""A private installation to measure: `safelight up` in a temporary folder, ended with the block."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.settings import Settings
from safelight import Client
from safelight.standalone import ports, services
from safelight.standalone.layout import Layout

CHECKPOINT = "emoji-64"


@dataclass(frozen=True)
class Stack:
    """Where it is, how to talk to it, and what its processes were told."""

    home: Path
    url: str
    key: str
    first_up_seconds: float
    settings: Settings

    def client(self) -> Client:
        """A client with the admin key."""
        return Client(self.url, self.key)


@contextlib.contextmanager
def stack(
    *, workers: bool = True, gpu_workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Everything up, with GPU workers and one CPU worker, or none; `environment` adds settings."""
    home = Path(tempfile.mkdtemp(prefix="safelight-bench-"))
    home.chmod(0o755)  # Postgres runs as a user of its own when we are root
    try:
        found, seconds = start(home, workers=workers, gpu_workers=gpu_workers, environment=environment)
        key = Path(found["key_file"]).read_text().strip()
        yield Stack(home, found["url"], key, seconds, settings_of(home))
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            stop(home)
        shutil.rmtree(home, ignore_errors=True)


def start(
    home: Path, *, workers: bool = True, gpu_workers: int = 1, environment: Mapping[str, str] | None = None
) -> tuple[dict[str, str], float]:
    """`safelight up --detach`; what it says, and the seconds until it was ready."""
    began = time.monotonic()
    fleet = ["--gpu-workers", str(gpu_workers)] if workers else ["--no-workers"]
    said = _cli("up", "--detach", "--json", *fleet, home=home, environment=environment)
    return json.loads(said), time.monotonic() - began


def stop(home: Path) -> None:
    """`safelight down`."""
    _cli("down", home=home)


def settings_of(home: Path) -> Settings:
    """The settings that the installation's processes were given."""
    layout = Layout.at(home)
    given = services.environment(layout.load_secrets(), ports.load(layout.ports_file))
    values = {name.removeprefix("SAFELIGHT_").lower(): value for name, value in given.items()}
    return Settings.model_validate({**values, "home": home})


def _cli(*argv: str, home: Path, environment: Mapping[str, str] | None = None) -> str:
    command = [sys.executable, "-m", "safelight.cli", *argv, "--home", str(home)]
    told = os.environ | {"SAFELIGHT_RATE_LIMIT": ""} | dict(environment or {})
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=told).stdout
