"""What a client of webhooks runs: an HTTP server that checks signatures and remembers what it was told.

It answers some requests with an error and some too late, so that deliveries are tried again.
"""

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SICK = 0.05
"""How many of the requests are refused, and how many are left without an answer until the sender is tired of it."""
HANG_SECONDS = 4.0


@dataclass
class Inbox:
    """What one target was told. Shared between the server's threads."""

    secret: str
    seen: Counter[str] = field(default_factory=Counter)
    """webhook-id → how often it came with a valid signature."""
    told: dict[str, set[str]] = field(default_factory=dict)
    """webhook-id → the bodies that came under it; one, if all tries are the same."""
    forged: list[str] = field(default_factory=list)
    """Whole requests whose signature did not fit: what they were, and why."""
    cut_off: int = 0
    """Requests whose sender died in the middle of them."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: bytes) -> bool:
        """Check and remember one request."""
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as error:
            with self.lock:
                self.forged.append(f"{headers.get('webhook-id')}, {len(body)} bytes: {error}")
            return False
        with self.lock:
            name = headers["webhook-id"]
            self.seen[name] += 1
            self.told.setdefault(name, set()).add(body.decode())
        return True

    def jobs(self) -> Counter[tuple[str, str]]:
        """(job, kind) → how many different messages spoke of it."""
        with self.lock:
            bodies = [json.loads(body) for told in self.told.values() for body in told]
        return Counter((str(body["data"]["id"]), str(body["type"])) for body in bodies)


class Receiver:
    """A server with one inbox per path."""

    def __init__(self, seed: int) -> None:
        self.inboxes: dict[str, Inbox] = {}
        self.dice = random.Random(f"receiver-{seed}")
        self.well = threading.Event()
        """Set: every request is answered at once."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def url(self, path: str) -> str:
        """Where the inbox of this path is."""
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Serve from a thread."""
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def status_for(self, inbox: Inbox, headers: dict[str, str], body: bytes) -> int:
        """What to answer. Before it refuses or hangs it reads, as a real target does."""
        if not inbox.take(headers, body):
            return 401
        chance = 1.0 if self.well.is_set() else self.dice.random()
        if chance < SICK:
            time.sleep(HANG_SECONDS)
        return 503 if chance < 2 * SICK else 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", "0"))
                body = self.rfile.read(length)
                inbox = receiver.inboxes.get(self.path.lstrip("/"))
                if inbox is not None and len(body) < length:
                    self.close_connection = True
                    with inbox.lock:
                        inbox.cut_off += 1
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.status_for(inbox, headers, body) if inbox is not None else 404
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
