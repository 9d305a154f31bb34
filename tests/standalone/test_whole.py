"""The whole product as a person gets it: one command, the real API and workers, and what the commands say of them."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.standalone.conftest import left_behind

ROOT = Path(__file__).parents[2]


def safelight(*argv: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    command = [sys.executable, "-m", "safelight.cli", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=180)


@pytest.mark.slow
def test_up_doctor_status_down_and_up_again(home: Path) -> None:
    where = ("--home", str(home))
    first = safelight("up", "--detach", "--json", *where)
    assert first.returncode == 0, first.stdout + first.stderr
    ready = json.loads(first.stdout)
    key = Path(ready["key_file"])
    assert key.read_text().startswith("sl_")
    assert key.stat().st_mode & 0o777 == 0o600
    with urllib.request.urlopen(f"{ready['url']}/v1/health/ready") as answer:  # noqa: S310  our own http address
        assert answer.status == 200

    status = json.loads(safelight("status", "--json", *where).stdout)
    assert status["ready"]
    assert {process["name"]: process["restarts"] for process in status["processes"]} == dict.fromkeys(
        ("postgres", "valkey", "seaweed", "migrate", "bootstrap", "api", "gpu-1", "cpu-1", "scheduler", "webhooks"), 0
    )
    # Ready means that jobs can run: each pool's worker has said that it is alive.
    doctor = safelight("doctor", "--json", *where)
    found = {check["name"]: check for check in json.loads(doctor.stdout)["checks"]}
    assert (found["workers"]["detail"], found["invariants"]["level"]) == ("1 cpu, 1 gpu", "ok")
    assert found["connections"]["level"] == "ok"
    assert [check for check in json.loads(doctor.stdout)["checks"] if check["level"] == "fail"] == []

    again = safelight("up", "--detach", *where)
    assert again.returncode == 1
    assert f"pid {ready['pid']}" in again.stderr

    secret = key.read_text()
    assert safelight("down", *where).returncode == 0
    assert left_behind(home) == []
    second = safelight("up", "--detach", "--json", "--no-workers", *where)
    assert second.returncode == 0, second.stdout + second.stderr
    assert json.loads(second.stdout)["url"] == ready["url"]
    assert key.read_text() == secret
    assert safelight("down", "--now", *where).returncode == 0
    assert left_behind(home) == []
