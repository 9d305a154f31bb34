"""The supervisor over real processes, fakes in the application's place: order, crashes, signals, a second one."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from safelight.standalone import overview
from safelight.standalone import state as states
from safelight.standalone.errors import StandaloneError
from safelight.standalone.launch import external_environment
from safelight.standalone.layout import Layout
from tests.standalone.conftest import Up, eventually, left_behind

Start = Callable[..., Up]


def process_of(home: Path, name: str) -> states.ProcessState:
    state = states.load(Layout.at(home))
    assert state is not None
    return next(process for process in state.processes if process.name == name)


def test_starts_by_need_and_stops_in_order(up: Start, home: Path) -> None:
    running = up()
    assert running.url().startswith("http://127.0.0.1:")
    started = running.events()
    assert started[:1] == ["migrate started"]
    assert started.index("bootstrap started") < started.index("gpu-1 started")
    assert running.end() == "stopped"
    assert running.process.returncode == 0
    assert running.events()[len(started) :] == [
        "api SIGTERM", "api ended", "gpu-1 SIGTERM", "gpu-1 ended", "scheduler SIGTERM", "scheduler ended",
    ]  # fmt: skip
    assert left_behind(home) == []


def test_a_terminals_ctrl_c_reaches_only_the_supervisor(up: Start) -> None:
    running = up()
    running.url()
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.rest() == "stopped"
    assert not [event for event in running.events() if "SIGINT" in event]


def test_a_crashed_child_comes_back_with_growing_pauses(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"gpu-1": "crash"}))
    running.url()
    log = home / "logs" / "gpu-1.log"
    eventually(lambda: log.exists() and "starting it again in 2 s" in log.read_text(), "it has crashed three times")
    said = [line.split("starting it again")[1] for line in log.read_text().splitlines() if "again" in line]
    assert said[:3] == [" in 0.5 s", " in 1 s", " in 2 s"]
    status = {process.name: process for process in overview.look(Layout.at(home)).processes}
    assert status["gpu-1"].restarts >= 3
    assert status["api"].restarts == 0
    assert not overview.look(Layout.at(home)).ready
    assert running.end() == "stopped"


def test_a_child_that_is_killed_comes_back(up: Start, home: Path) -> None:
    running = up()
    running.url()
    first = process_of(home, "api").pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: overview.look(Layout.at(home)).ready and process_of(home, "api").pid != first, "it is back")
    assert "SIGKILL" in (home / "logs" / "api.log").read_text()
    running.end()


def test_a_child_that_cannot_start_ends_everything_and_says_why(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"bootstrap": "fail"}))
    said = running.rest()
    assert running.process.returncode == 1
    assert "bootstrap ended with exit code 3 before it was ready" in said
    assert "the frobnicator is missing" in said
    assert "logs/bootstrap.log" in said
    assert left_behind(home) == []
    status = overview.look(Layout.at(home))
    assert not status.running
    assert "frobnicator" in (status.error or "")


def test_a_worker_that_does_not_become_ready_ends_everything_and_says_so(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"gpu-1": "mute"}))
    said = running.rest()
    assert running.process.returncode == 1
    assert "gpu-1 was not ready after 1.5 s, and was ended" in said
    assert "logs/gpu-1.log" in said
    assert left_behind(home) == []


def test_a_second_signal_hurries(up: Start) -> None:
    running = up(behave=json.dumps({"gpu-1": "stubborn"}))
    running.url()
    running.signal(signal.SIGTERM)
    eventually(lambda: "api ended" in running.events(), "it waits for the worker")
    running.signal(signal.SIGINT)
    assert running.rest() == "stopped"
    assert running.events()[-4:] == ["gpu-1 SIGQUIT", "gpu-1 ended", "scheduler SIGTERM", "scheduler ended"]


def test_a_second_up_on_the_same_folder_says_so(up: Start, home: Path) -> None:
    running = up()
    url = running.url()
    second = up()
    said = second.rest()
    assert second.process.returncode == 1
    assert f"runs already on {home} (pid {running.process.pid}, {url})" in said
    assert "safelight down" in said
    running.end()


def test_a_given_port_that_is_taken_is_an_error_that_names_the_option(up: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        running = up(port=taken)
        said = running.rest()
    assert running.process.returncode == 1
    assert f"port {taken} on 127.0.0.1 is taken" in said
    assert "--port" in said


def test_a_port_chosen_automatically_moves_when_it_is_taken(up: Start) -> None:
    running = up()
    port = int(running.url().rpartition(":")[2])
    running.end()
    with socket.create_server(("127.0.0.1", port)):
        again = up()
        assert int(again.url().rpartition(":")[2]) != port
        again.end()


def test_external_services_must_be_named() -> None:
    with pytest.raises(StandaloneError, match="SAFELIGHT_REDIS_URL") as caught:
        external_environment({"SAFELIGHT_DATABASE_URL": "postgresql://x", "SAFELIGHT_S3_BUCKET": "pictures"})
    assert "embedded" in caught.value.remedy
