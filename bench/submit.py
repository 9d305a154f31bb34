"""POST /v1/jobs a second: the API under gunicorn, several connections, no workers; beside GET /v1/health/live."""

import json
import selectors
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

from bench.report import Figure
from bench.stack import CHECKPOINT, Stack

REQUESTS = 3000
CONNECTIONS = 8


def submit_rate(stack: Stack) -> list[Figure]:
    """Requests a second of accepted jobs; the baseline is the same server's cheapest answer."""
    _fire(stack, "GET", "/v1/health/live", 200)
    live = _fire(stack, "GET", "/v1/health/live", REQUESTS)
    _fire(stack, "POST", "/v1/jobs", 100)
    posted = _fire(stack, "POST", "/v1/jobs", REQUESTS)
    return [
        Figure(
            "POST /v1/jobs",
            REQUESTS / posted,
            "requests/s",
            REQUESTS / live,
            "GET /v1/health/live",
            "≥ 300/s on two cores",
            f"{CONNECTIONS} connections from one process on the same two cores",
        )
    ]


def _fire(stack: Stack, method: str, path: str, count: int) -> float:
    command = [sys.executable, "-m", "bench.submit", stack.url, stack.key, method, path, str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def fire(url: str, key: str, method: str, path: str, count: int) -> float:
    """Send `count` requests over kept-alive connections, pipelined by nobody; seconds until the last answer.

    Plain sockets and a selector: the load generator shares the two cores, so it must be cheap.
    """
    host = urlsplit(url).netloc
    body = json.dumps({"task": "text_to_image", "checkpoint": CHECKPOINT, "params": {"prompt": "a cat"}}).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
    if method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    request = head.encode() + b"\r\n" + (body if method == "POST" else b"")
    address = (urlsplit(url).hostname or "", urlsplit(url).port or 80)
    selector, sent, answered = selectors.DefaultSelector(), 0, 0
    began = time.monotonic()
    for _ in range(min(CONNECTIONS, count)):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        sent += 1
        selector.register(connection, selectors.EVENT_READ, bytearray())
    while answered < count:
        for event, _ in selector.select():
            received, peer = event.data, event.fileobj
            assert isinstance(peer, socket.socket)
            chunk = peer.recv(65536)
            assert chunk, "the server closed a connection"
            received += chunk
            if not _complete(received):
                continue
            received.clear()
            answered += 1
            if sent < count:
                peer.sendall(request)
                sent += 1
    return time.monotonic() - began


def _complete(received: bytearray) -> bool:
    """Whether a whole 2xx answer has arrived. Anything else ends the measurement: errors are quick, and lie."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    assert received[9:10] == b"2", bytes(received[:400])
    for line in bytes(received[:end]).split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(received) >= end + 4 + int(value)
    return True


if __name__ == "__main__":
    url, key, method, path, count = sys.argv[1:]
    print(fire(url, key, method, path, int(count)))
