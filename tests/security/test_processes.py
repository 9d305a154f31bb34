"""Two gunicorn processes: a revoked key is refused by both, and one scrape tells of both."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from models.clients import revoke_key
from models.session import Sessions
from models.settings import Settings
from models.states import Role
from tests.api.conftest import PROMPT
from tests.api.helpers import eventually
from tests.api.live import Server, running_server
from tests.seeding import Seeder

ASKED = 60


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A real gunicorn with two processes."""
    two = {"api_workers": 2, "api_threads": 8, "home": tmp_path}
    with running_server(settings.model_copy(update=two), tmp_path / "log") as running:
        eventually(lambda: len(processes(running)) == 2)
        yield running


def processes(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def ask(server: Server, key: str) -> httpx.Response:
    """On a connection of its own, so that any process may answer."""
    return httpx.get(f"{server.url}/v1/me", headers={"Authorization": f"Bearer {key}"}, timeout=20)


def counted(server: Server, key: str, status: int) -> int:
    text = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {key}"}).text
    found = re.search(rf'requests_total{{method="GET",route="/v1/me",status="{status}"}} ([0-9.]+)', text)
    return int(float(found.group(1))) if found else 0


def test_a_revoked_key_is_refused_by_every_process_within_a_second(
    server: Server, seed: Seeder, sessions: Sessions
) -> None:
    key = seed.key(seed.client())
    # Given a key that both processes have just seen
    assert {ask(server, key).status_code for _ in range(ASKED)} == {200}
    # When it is revoked by a third
    with sessions.begin() as session:
        assert revoke_key(session, key.split("_")[1])
    revoked_at = time.monotonic()
    # Then no request that begins a second later gets in, whoever answers it
    while time.monotonic() - revoked_at < 1:
        ask(server, key)
    assert {ask(server, key).status_code for _ in range(ASKED)} == {401}


def test_a_stream_ends_with_the_key_that_opened_it(
    settings: Settings, seed: Seeder, sessions: Sessions, tmp_path: Path
) -> None:
    # Given the stream of a job that nobody runs
    seed.checkpoint()
    key = seed.key(seed.client())
    quick = settings.model_copy(update={"sse_heartbeat_seconds": 0.2})
    with running_server(quick, tmp_path / "log") as server, server.client(key) as client:
        job = client.post("/v1/jobs", json=PROMPT).json()
        with client.stream("GET", job["urls"]["events"]) as stream:
            lines = stream.iter_lines()
            assert any("still here" in line for line in lines)
            # When the key is revoked, then the stream ends, though the job does not
            with sessions.begin() as session:
                revoke_key(session, key.split("_")[1])
            assert len(list(itertools.islice(lines, 100))) < 100
        assert client.get(job["urls"]["self"]).status_code == 401


def test_one_scrape_tells_of_every_process(server: Server, seed: Seeder) -> None:
    key = seed.key(seed.client(), Role.VIEWER)
    for _ in range(ASKED):
        ask(server, key)
    # The same whichever process answers.
    assert {counted(server, key, 200) for _ in range(10)} == {ASKED}
    # And what a process counted outlives it
    processes(server)[0].kill()
    eventually(lambda: len(processes(server)) == 2 and ask(server, key).status_code == 200)
    assert counted(server, key, 200) > ASKED
    text = httpx.get(f"{server.url}/metrics").text
    assert 'safelight_api_held_threads{kind="stream"} 0.0' in text
    assert text.count("# TYPE safelight_queue_jobs gauge") == 1


def test_counts_of_an_earlier_run_are_gone(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "metrics" / "8123"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").write_bytes(b"rubbish")
    own = {"SAFELIGHT_HOME": str(tmp_path), "SAFELIGHT_API_WORKERS": "2", "SAFELIGHT_API_PORT": "8123"}
    script = "from api import gunicorn_conf; gunicorn_conf.on_starting(None)"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environment, **own}, check=True)
    assert list(folder.iterdir()) == []
