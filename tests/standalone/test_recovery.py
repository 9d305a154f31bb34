"""A supervisor that is killed: what dies with it, what the next one cleans up, and that the data survives."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg

from safelight.standalone import postgres
from safelight.standalone.layout import Layout
from safelight.standalone.ports import load
from safelight.standalone.shutdown import bring_down
from tests.standalone.conftest import Up, eventually, left_behind

Start = Callable[..., Up]


def dsn(home: Path) -> str:
    layout = Layout.at(home)
    url = postgres.database_url(layout.load_secrets(), load(layout.ports_file)["postgres"])
    return url.replace("+psycopg", "")


def test_killed_supervisor_leaves_no_orphans_and_the_next_recovers(up: Start, home: Path) -> None:
    running = up(external=False)
    running.url()
    with psycopg.connect(dsn(home)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    running.process.kill()
    eventually(lambda: not left_behind(home), "everything died with its supervisor")

    again = up(external=False)
    again.url()
    with psycopg.connect(dsn(home)) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert again.end() == "stopped"
    assert left_behind(home) == []


def test_the_next_up_ends_what_did_not_die(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"gpu-1": "clinging"}))
    running.url()
    running.process.kill()
    eventually(lambda: len(left_behind(home)) == 1, "only the clinging one is left")

    again = up()
    assert again.line().startswith("recovered python")
    again.url()
    assert again.events().count("gpu-1 started") == 2
    again.end()
    assert left_behind(home) == []


def test_down_ends_what_did_not_die(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"scheduler": "clinging"}))
    running.url()
    running.process.kill()
    running.process.wait()

    ended = bring_down(Layout.at(home), timeout_seconds=10)
    assert not ended.was_running
    assert len(ended.left_behind) >= 1
    assert left_behind(home) == []


def test_down_ends_a_running_supervisor(up: Start, home: Path) -> None:
    running = up()
    running.url()
    ended = bring_down(Layout.at(home), timeout_seconds=20)
    assert (ended.was_running, ended.killed, ended.pid) == (True, False, running.process.pid)
    assert running.rest() == "stopped"
    assert not bring_down(Layout.at(home), timeout_seconds=20).was_running


def test_down_now_does_not_wait_for_work(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"gpu-1": "stubborn"}))
    running.url()
    assert not bring_down(Layout.at(home), timeout_seconds=15, now=True).killed
    assert running.rest() == "stopped"


def test_down_kills_a_supervisor_that_takes_too_long(up: Start, home: Path) -> None:
    running = up(behave=json.dumps({"gpu-1": "stubborn"}))
    running.url()
    ended = bring_down(Layout.at(home), timeout_seconds=1)
    assert ended.killed
    assert left_behind(home) == []
