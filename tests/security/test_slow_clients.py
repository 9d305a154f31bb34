"""Clients that send slowly, or nothing, or read nothing: they hold no thread, and the server goes on."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from api.server import BODY_GRACE_SECONDS, MIN_BYTES_PER_SECOND, Pace, PacedUnreader, _hang_up
from models.errors import RequestTimeoutError
from models.settings import Settings
from tests.api.live import Server, running_server
from tests.seeding import Seeder

THREADS = 4
MANY = 10 * THREADS
HALF_A_HEAD = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A real gunicorn with as few threads as there can be."""
    with running_server(settings.model_copy(update={"api_threads": THREADS}), tmp_path / "log") as running:
        yield running


@pytest.fixture
def dial(server: Server) -> Iterator[Callable[[bytes], socket.socket]]:
    """A connection that has sent this much; all of them are closed at the end."""
    opened: list[socket.socket] = []
    host, port = server.url.removeprefix("http://").split(":")

    def connect(sent: bytes) -> socket.socket:
        opened.append(socket.create_connection((host, int(port)), timeout=20))
        opened[-1].sendall(sent)
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def is_served(server: Server) -> bool:
    with httpx.Client(timeout=8) as client:
        return client.get(f"{server.url}/v1/health/live").status_code == 200


def test_half_a_head_holds_no_thread(server: Server, dial: Callable[[bytes], socket.socket]) -> None:
    # Given ten times as many slow clients as there are threads
    slow = [dial(HALF_A_HEAD if number % 2 else b"") for number in range(MANY)]
    # Then others are served
    assert is_served(server)
    # And a slow one, too, once its request is whole
    slow[1].sendall(b"x\r\n\r\n")
    assert slow[1].recv(1000).startswith(b"HTTP/1.1 200")


def test_a_head_may_come_in_pieces_and_two_requests_at_once(dial: Callable[[bytes], socket.socket]) -> None:
    connection = dial(b"\r\nGET /v1/health/live HTT")
    for piece in (
        b"P/1.1\r\nHost: x\r",
        b"\n\r",
        b"\nGET /v1/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ):
        time.sleep(0.05)
        connection.sendall(piece)
    with connection.makefile("rb") as stream:
        assert stream.read().count(b"HTTP/1.1 200") == 2


@pytest.mark.slow
def test_a_head_that_never_ends_is_cut_off(dial: Callable[[bytes], socket.socket]) -> None:
    connection = dial(HALF_A_HEAD)
    connection.settimeout(0.5)

    def is_closed() -> bool:
        try:
            connection.sendall(b"x")
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    until = time.monotonic() + 60
    while not is_closed():
        assert time.monotonic() < until


def test_a_peer_that_does_not_close_its_side_holds_nobody_up(
    server: Server, dial: Callable[[bytes], socket.socket]
) -> None:
    asked = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    kept = [dial(asked) for _ in range(MANY)]
    assert is_served(server)
    assert all(connection.recv(1000).startswith(b"HTTP/1.1 200") for connection in kept)


def test_who_has_no_key_cannot_hold_a_thread_by_a_body(server: Server, dial: Callable[[bytes], socket.socket]) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
    slow = [dial(head) for _ in range(MANY)]
    assert is_served(server)
    assert all(connection.recv(1000).startswith(b"HTTP/1.1 401") for connection in slow)


def test_a_connection_that_was_hung_up_is_closed_once() -> None:
    """Gunicorn counts its connections down after `close`, and once more if that raises."""
    ours, theirs = socket.socketpair()
    with closing(theirs):
        connection = TConn(Config(), ours, "", "")
        assert _hang_up(connection) is False
        connection.close(graceful=True)
        assert theirs.recv(1) == b""


@pytest.mark.slow
def test_a_body_that_stops_is_a_timeout_and_no_crash(
    server: Server, seed: Seeder, dial: Callable[[bytes], socket.socket]
) -> None:
    key = seed.key(seed.client())
    connection = dial(
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        b"Authorization: Bearer " + key.encode() + b"\r\n\r\n{"
    )
    connection.settimeout(BODY_GRACE_SECONDS + 20)
    with connection.makefile("rb") as stream:
        answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code": "request_timeout"' in answer
    assert b"Traceback" not in server.log.read_bytes()


def test_a_body_has_a_grace_and_then_a_pace() -> None:
    late = time.monotonic() - BODY_GRACE_SECONDS - 1
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = PacedUnreader(ours)
        theirs.sendall(b"abc")
        assert reader.read(3) == b"abc"
        # Given a body that began long ago, and of which too little came
        reader.pace = Pace(late, MIN_BYTES_PER_SECOND // 2)
        theirs.sendall(b"abc")
        with pytest.raises(RequestTimeoutError):
            reader.read(3)
        # When as much came as the pace wants, it goes on
        reader.pace = Pace(late, 10 * MIN_BYTES_PER_SECOND)
        assert reader.read(3) == b"abc"
        # And one that stands still is given up when the time is over
        reader.pace = Pace(time.monotonic() - BODY_GRACE_SECONDS + 0.05)
        with pytest.raises(RequestTimeoutError):
            reader.read(1)


HEADS = {
    "line": b"GET /v1/" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "field": b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
    "fields": b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 70 + b"\r\n",
    "head": b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000,
}


def test_a_head_is_bounded(server: Server, dial: Callable[[bytes], socket.socket], subtests: pytest.Subtests) -> None:
    for name, head in HEADS.items():
        with subtests.test(name):
            connection = dial(head)
            try:
                answer = connection.recv(1000)
            except ConnectionError:
                answer = b""
            assert answer == b"" or 400 <= int(answer.split()[1]) < 500
    assert is_served(server)


def test_a_chunked_body_has_the_same_limit(settings: Settings, seed: Seeder, tmp_path: Path) -> None:
    key = seed.key(seed.client())

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    with (
        running_server(settings.model_copy(update={"max_body_bytes": 10_000}), tmp_path / "log") as server,
        server.client(key) as client,
    ):
        answer = client.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert client.get("/v1/me").status_code == 200
