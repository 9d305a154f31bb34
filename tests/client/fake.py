"""A small real HTTP server on loopback whose answers are scripted: for the faults that a healthy API never shows."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

JOB_ID = "019aa8a0-0000-7000-8000-00000000beef"
SHORT = "0000beef"


@dataclass(frozen=True)
class Answer:
    """One answer; `cut` sends the body (or nothing) and drops the connection without ending it properly."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False

    def bytes(self) -> bytes:
        return self.body if self.body is not None else b"" if self.json is None else json.dumps(self.json).encode()


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeApi:
    """Scripted answers by method and path, used up in order; the last one stays."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self._lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def script(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def take(self, seen: Seen) -> Answer:
        with self._lock:
            self.seen.append(seen)
            waiting = self._answers.get((seen.method, seen.path), [])
            if not waiting:
                return problem(404, "not_found", f"nothing scripted for {seen.method} {seen.path}")
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def requests(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]


@contextlib.contextmanager
def fake_api() -> Iterator[FakeApi]:
    fake = FakeApi()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()


def job(state: str = "queued", **changes: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    view = {
        "id": JOB_ID,
        "state": state,
        "task": "text_to_image",
        "checkpoint": {"name": "emoji", "revision": "ab" * 32},
        "params": {"prompt": "a cat", "seed": 7},
        "tag": None,
        "priority": 0,
        "lane": "interactive",
        "reproducible": False,
        "attempt": 1,
        "cancel_requested": False,
        "queue": {"position": 2, "position_capped": False, "eta_seconds": 3.5} if state == "queued" else None,
        "progress": None,
        "artifacts": [],
        "error": None,
        "source_job_id": None,
        "created_at": "2026-11-21T22:54:00.123456+00:00",
        "urls": {"self": f"/v1/jobs/{JOB_ID}"},
        "added_by_a_newer_api": True,
    }
    return {**view, **changes}


def artifact(sha256: str, index: int = 0) -> dict[str, Any]:
    return {
        "id": f"019aa8a0-0000-7000-8000-0000000000a{index}",
        "index": index,
        "media_type": "image/png",
        "size_bytes": 3,
        "width": 64,
        "height": 64,
        "seed": 7,
        "sha256": sha256,
        "url": "",
    }


def problem(status: int, code: str, detail: str = "", errors: Any = None, **headers: str) -> Answer:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, "request_id": "r1"}
    if errors is not None:
        body["errors"] = errors
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, headers={"Content-Type": "application/problem+json", **named})


def sse(*events: tuple[str, str | None, Any], cut: bool = False) -> Answer:
    """Events as (name, id, data), with a heartbeat before each."""
    lines = []
    for name, event_id, data in events:
        identity = f"id: {event_id}\n" if event_id else ""
        lines.append(f": heartbeat\n\nevent: {name}\n{identity}data: {json.dumps(data)}\n\n")
    return Answer(body="".join(lines).encode(), headers={"Content-Type": "text/event-stream"}, cut=cut)


def _handler(fake: FakeApi) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = fake.take(Seen(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
            content = answer.bytes()
            if answer.cut and not content:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + (1000 if answer.cut else 0)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = answer.cut

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_args: Any) -> None:
            """Quiet."""

    return Handler
