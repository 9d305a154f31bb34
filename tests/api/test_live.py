"""Streams, long polls and their limits on a real gunicorn process."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from models.progress import Progress, ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.api.helpers import eventually, succeed
from tests.api.live import Server, running_server
from tests.seeding import Seeder

BODY = {"task": "text_to_image", "params": {"prompt": "a cat"}}


@dataclass
class Event:
    """One event of a stream."""

    id: str | None
    kind: str
    data: dict[str, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse a stream as the standard says; comments come as events of the kind `comment`."""
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield Event(None, "comment", {})
        elif line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif "data" in found:
            yield Event(found.get("id"), found["event"], json.loads(found["data"]))
            found = {}
        else:
            found = {}


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """Eight threads: four streams and two waits at most."""
    given = settings.model_copy(update={"api_threads": 8, "sse_heartbeat_seconds": 0.5, "rate_limit": ""})
    with running_server(given, tmp_path / "log") as server:
        yield server


@pytest.fixture
def client(server: Server, seed: Seeder) -> httpx.Client:
    seed.checkpoint()
    return server.client(seed.key(seed.client()))


def test_a_stream_tells_everything_once_and_ends_with_the_job(
    client: httpx.Client, seed: Seeder, sessions: Sessions, storage: Storage, settings: Settings
) -> None:
    job = client.post("/v1/jobs", json=BODY).json()
    board = ProgressBoard(connect_redis(settings))
    seen: list[Event] = []
    with client.stream("GET", job["urls"]["events"]) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for event in events(stream.iter_lines()):
            seen.append(event)
            if event.kind == "job.queued":
                board.put({uuid.UUID(job["id"]): Progress(1, "running", 3, 4)})
            elif event.kind == "progress":
                succeed(seed, sessions, storage)
    told = [event for event in seen if event.kind != "comment"]
    assert [event.kind for event in told] == ["job.queued", "progress", "job.running", "job.succeeded"]
    assert told[1].id is None
    assert told[1].data == {"attempt": 1, "phase": "running", "step": 3, "total_steps": 4, "preview": 0}
    assert told[2].data["data"]["worker"] == "w1"
    assert {event.data["job_id"] for event in told if event.id} == {job["id"]}
    _check_resume(client, job["urls"]["events"], [event.id for event in told if event.id])


def _check_resume(client: httpx.Client, path: str, ids: list[str]) -> None:
    """A client that comes back is told what it missed, and nothing twice."""
    for position, last in enumerate(ids[:-1]):
        with client.stream("GET", path, headers={"Last-Event-ID": last}) as stream:
            assert [event.id for event in events(stream.iter_lines())] == ids[position + 1 :]
    for nonsense in ("", "x", "-1", "9" * 30):
        with client.stream("GET", path, headers={"Last-Event-ID": nonsense}) as stream:
            assert [event.id for event in events(stream.iter_lines())] == ids
    # The standard's way to say: do not connect again.
    assert client.get(path, headers={"Last-Event-ID": ids[-1]}).status_code == 204


def test_streams_take_half_of_the_threads_and_give_them_back(client: httpx.Client, server: Server) -> None:
    job = client.post("/v1/jobs", json=BODY).json()
    with ExitStack() as stack:
        held = []  # an iterator that is forgotten closes its stream
        for _ in range(4):
            stream = stack.enter_context(client.stream("GET", job["urls"]["events"]))
            held.append(events(stream.iter_lines()))
            assert next(held[-1]).kind == "job.queued"
        refused = client.get(job["urls"]["events"])
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert client.get(job["urls"]["self"]).status_code == 200
        assert 'safelight_api_held_threads{kind="stream"} 4.0' in client.get("/metrics").text
    eventually(lambda: 'safelight_api_held_threads{kind="stream"} 0.0' in client.get("/metrics").text)
    client.head(job["urls"]["events"])
    assert 'safelight_api_held_threads{kind="stream"} 0.0' in client.get("/metrics").text
    _check_stop(client, server, job)


def _check_stop(client: httpx.Client, server: Server, job: dict[str, Any]) -> None:
    """A server that is told to stop ends its streams and waits, instead of waiting for them."""
    with client.stream("GET", job["urls"]["events"]) as stream:
        lines = events(stream.iter_lines())
        assert next(lines).kind == "job.queued"
        # The heartbeat comes while nothing happens.
        assert next(lines).kind == "comment"
        began = time.monotonic()
        server.process.terminate()
        list(lines)
    assert server.process.wait(20) == 0
    assert time.monotonic() - began < 10


def test_a_wait_ends_with_the_job_and_says_so(
    client: httpx.Client, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    answers: dict[str, httpx.Response] = {}

    def submit_and_wait() -> None:
        answers["post"] = client.post("/v1/jobs", json=BODY, headers={"Prefer": "respond-async, wait=15"})

    thread = threading.Thread(target=submit_and_wait)
    began = time.monotonic()
    thread.start()
    eventually(lambda: bool(client.get("/v1/jobs").json()["items"]))
    job = client.get("/v1/jobs").json()["items"][0]
    time.sleep(0.3)
    assert not answers
    succeed(seed, sessions, storage)
    thread.join()
    assert time.monotonic() - began < 10
    done = answers["post"]
    assert (done.status_code, done.json()["state"], done.headers["Preference-Applied"]) == (200, "succeeded", "wait=15")
    assert done.json()["artifacts"]
    assert client.get(job["urls"]["self"], params={"wait": 15}).json()["state"] == "succeeded"


def test_a_wait_that_is_over_answers_what_is_and_waits_are_counted(client: httpx.Client) -> None:
    job = client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=1"})
    assert (job.status_code, job.json()["state"], job.headers["Preference-Applied"]) == (202, "queued", "wait=1")
    path = job.json()["urls"]["self"]
    waiting = [threading.Thread(target=client.get, args=(path,), kwargs={"params": {"wait": 2}}) for _ in range(2)]
    for thread in waiting:
        thread.start()
    eventually(lambda: 'safelight_api_held_threads{kind="wait"} 2.0' in client.get("/metrics").text)
    began = time.monotonic()
    # There is no thread to spare: the preference is not applied, and the answer comes at once.
    third = client.get(path, params={"wait": 2})
    assert (third.status_code, third.headers.get("Preference-Applied")) == (200, None)
    assert time.monotonic() - began < 1.5
    for thread in waiting:
        thread.join()


def test_a_waiter_that_hangs_up_gives_its_thread_back(client: httpx.Client, server: Server) -> None:
    path = client.post("/v1/jobs", json=BODY).json()["urls"]["self"]
    with pytest.raises(httpx.ReadTimeout):
        client.get(path, params={"wait": 60}, timeout=0.5)
    eventually(lambda: 'safelight_api_held_threads{kind="wait"} 0.0' in client.get("/metrics").text)


def test_a_lost_connection_of_the_hub_costs_a_moment(
    client: httpx.Client, seed: Seeder, sessions: Sessions, storage: Storage
) -> None:
    path = client.post("/v1/jobs", json=BODY).json()["urls"]["self"]
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.get(path, params={"wait": 15})))
    thread.start()
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'safelight api hub'")

    def killed() -> bool:
        with sessions.begin() as session:
            return len(session.execute(kill).all()) > 0

    eventually(killed)
    succeed(seed, sessions, storage)
    thread.join()
    assert answers[0].json()["state"] == "succeeded"
