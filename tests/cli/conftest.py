"""The commands in this process against a scripted API, and as a real process where the exit code is the point."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.client.fake import FakeApi, fake_api

KEY = "sl_0123456789ab_secret"
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's settings nor an installation in the working folder."""
    for name in [name for name in os.environ if name.startswith("SAFELIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api() as running:
        yield running


@pytest.fixture
def run(fake: FakeApi) -> Run:
    """A command against the scripted API."""

    def call(*arguments: str) -> Result:
        from safelight.cli.main import app

        return CliRunner().invoke(app, [*arguments, "--url", fake.url, "--key", KEY])

    return call


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command as a process of its own."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "safelight.cli", *arguments]
        return subprocess.run(
            argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=30, check=False
        )

    return call


def document(result: Result) -> Any:
    """Standard output holds one JSON document and nothing else."""
    return json.loads(result.stdout)
