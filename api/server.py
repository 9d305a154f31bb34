"""gunicorn's threaded worker, made safe against slow clients: a thread is for requests that have arrived.

gunicorn reads a request's head in a thread of the pool and waits for as long as the client likes: 64 sockets that each
send one byte would stop the server. Here the head is gathered between the events of the poller, and costs no thread;
it must be whole within `HEAD_SECONDS`. A body must come with at least `MIN_BYTES_PER_SECOND` after a grace, and only
who has shown a valid key gets that far. A peer that reads no answer is cut off by the kernel.
"""

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gunicorn import util
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from api.refusals import is_refused, refusal
from models.errors import RequestTimeoutError

HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 64 << 10
BODY_GRACE_SECONDS = 20.0
MIN_BYTES_PER_SECOND = 16 << 10
DRAIN_SECONDS = 0.2
"""What is spent on a body that nobody wants, to keep its connection."""
LINGER_SECONDS = 0.5
"""So that a client which still sends reads its answer before the reset."""
UNREAD_ANSWER_MILLISECONDS = 30_000
END_OF_HEAD = b"\r\n\r\n"


@dataclass
class Pace:
    """How long a body may still take: a grace, and more for each byte that came."""

    began_at: float = field(default_factory=time.monotonic)
    received_bytes: int = 0

    def left_seconds(self) -> float:
        """Until the client is too slow."""
        allowed = BODY_GRACE_SECONDS + self.received_bytes / MIN_BYTES_PER_SECOND
        return self.began_at + allowed - time.monotonic()


class PacedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn is untyped
    """Reads from a socket no longer than the request's pace allows."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.pace = Pace()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next piece.

        Raises:
            RequestTimeoutError: the client is too slow.
        """
        limit, left = self.sock.gettimeout(), self.pace.left_seconds()
        if left <= 0:
            raise RequestTimeoutError("The body came too slowly.")
        self.sock.settimeout(left if limit is None else min(left, limit))
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError as error:
            raise RequestTimeoutError("The body came too slowly.") from error
        finally:
            self.sock.settimeout(limit)
        self.pace.received_bytes += len(data)
        return data


class PacedWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """A threaded worker whose threads wait for nobody's head."""

    def handle(self, conn: Any) -> Any:
        """Handle what arrived on a connection: False closes it, `_DEFER` waits for more without a thread."""
        try:
            head = _gather(conn)
        except OSError:
            return _hang_up(conn)
        if head is None:
            return _DEFER
        if not head:
            return _hang_up(conn)
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = PacedUnreader(conn.sock)
        conn.data_ready = conn.lingers = True
        conn.parser.unreader.pace = Pace()
        conn.parser.unreader.unread(head)
        goes_on = super().handle(conn)
        return goes_on or _hang_up(conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:  # noqa: ARG002
        """Answer what is no request, or what broke outside the application; nothing that was sent is repeated."""
        if is_refused(exc):
            self.log.warning("what came is no request: %s", type(exc).__name__)
        else:
            self.log.error("a request broke outside the application", exc_info=exc)
        with suppress(OSError):
            util.write_nonblock(client, refusal(exc))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Whether the connection can be used again: a body that nobody read is drained for a moment only."""
        whole = bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))
        conn.lingers = not whole
        return keepalive and whole


def _gather(conn: Any) -> bytes | None:
    """What is there of the next request, once its head is whole; None until then; empty when there is none to come."""
    head: bytearray = conn.__dict__.setdefault("head", bytearray())
    if conn.initialized:
        head += conn.parser.unreader.take_buffered()
    conn.sock.setblocking(False)
    if not head:
        conn.head_began_at = time.monotonic()
        if not conn.initialized and conn.sock.family in {socket.AF_INET, socket.AF_INET6}:
            conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_ANSWER_MILLISECONDS)
    if END_OF_HEAD not in head:
        try:
            data = conn.sock.recv(MAX_HEAD_BYTES)
        except BlockingIOError:
            data = None
        if data == b"":
            return b""
        head += (data or b"").lstrip(b"\r\n") if not head else data or b""
    if END_OF_HEAD in head:
        whole = bytes(head)
        head.clear()
        return whole
    if len(head) > MAX_HEAD_BYTES or time.monotonic() - conn.head_began_at > HEAD_SECONDS:
        return b""
    return None


def _hang_up(conn: Any) -> bool:
    """Close here, in a thread: gunicorn would wait for the peer's side in the loop that all connections share."""
    with suppress(OSError):
        conn.sock.setblocking(True)
        util.close_graceful(conn.sock, timeout=LINGER_SECONDS if getattr(conn, "lingers", False) else 0.0)
    # gunicorn closes it once more, and would count a connection twice if that failed.
    conn.close = _is_closed
    return False


def _is_closed(*, graceful: bool = False) -> None:
    """There is nothing left to close."""
