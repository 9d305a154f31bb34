"""A webhook target on loopback: a real HTTP server that answers by a script, and keeps what it was sent."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MiB = 1 << 20
DRIPS = 800
"""About 40 s of them."""


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Message
    body: bytes

    @property
    def id(self) -> str:
        """The message's."""
        return str(self.headers["webhook-id"])

    @property
    def plain_headers(self) -> dict[str, str]:
        """As verifiers take them."""
        return {name.lower(): value for name, value in self.headers.items()}


Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Keeps the request, then does what the script says next; its last line again and again."""

    protocol_version = "HTTP/1.1"
    server: "Target"

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was killed while it wrote
            return
        self.server.take(Received(self.path, self.headers, body))(self)

    def do_GET(self) -> None:
        self.server.visited.append(self.path)
        status(200)(self)

    def say(self, text: bytes) -> None:
        """As it is; a sender that has left is no error."""
        with contextlib.suppress(OSError):
            self.wfile.write(text)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name for it
        """Say nothing."""


class Target(ThreadingHTTPServer):
    """`script` is what it answers, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script) or [status(200)]
        self.received: list[Received] = []
        self.visited: list[str] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/hook?token=t"

    def take(self, received: Received) -> Answer:
        """Keep it; what to answer."""
        with self._lock:
            self.received.append(received)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that leaves is what half of the tests are about."""

    def close(self) -> None:
        """Let hanging answers go, and stop."""
        self.released.set()
        self.shutdown()
        self.server_close()


@contextlib.contextmanager
def target(*script: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Target]:
    """One that runs for a while."""
    running = Target(*script, tls=tls)
    try:
        yield running
    finally:
        running.close()


# --- what a script is made of ----------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Answer:
    """A plain answer; `Retry_After="7"` is a header."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.say(b"ok")

    return answer


def hang(handler: Handler) -> None:
    """No answer until the server closes."""
    handler.server.released.wait(60)


def drip(handler: Handler, text: bytes) -> None:
    """Again and again until the server closes, or so long that a sender without a deadline is found out."""
    for _ in range(DRIPS):
        if handler.server.released.wait(0.05):
            return
        handler.say(text)


def drip_head(handler: Handler) -> None:
    """A header that never ends, a byte at a time: no single read takes long."""
    handler.say(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(handler, b"x")


def drip_body(handler: Handler) -> None:
    """The status at once, and a body that never ends."""
    handler.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    drip(handler, b"x")


def huge_head(handler: Handler) -> None:
    """More headers than anybody needs."""
    handler.say(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(OSError):
        for number in range(2000):
            handler.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))


def huge_body(handler: Handler) -> None:
    """64 MiB that nobody asked for; how much was taken is kept."""
    handler.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MiB))
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 64 * MiB:
            handler.wfile.write(b"x" * 65536)
            sent += 65536
    handler.server.visited.append(str(sent))


def cut_head(handler: Handler) -> None:
    """Closes in the middle of its headers."""
    handler.say(b"HTTP/1.1 200 OK\r\nContent-Le")
    handler.close_connection = True


def cut_body(handler: Handler) -> None:
    """Closes in the middle of its body."""
    handler.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    handler.close_connection = True


def no_http(handler: Handler) -> None:
    """Something else lives there."""
    handler.say(b"220 mail.example.com ESMTP\r\n")
    handler.close_connection = True


def endless_hints(handler: Handler) -> None:
    """1xx for ever."""
    drip(handler, b"HTTP/1.1 103 Early Hints\r\n\r\n")


# --- TLS -------------------------------------------------------------------------------------------------------------


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a target shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
