"""Everything that could give a secret away, as text: what went through Redis, what lies in tables and logs."""

import base64
import contextlib
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from sqlalchemy import text

from models.session import Sessions

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


class Wiretap:
    """Every command that anybody sends to Redis while it listens, as MONITOR writes it; values in full."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._heard = bytearray()
        self._socket = socket.create_connection((at.hostname or "127.0.0.1", at.port or 6379))
        words = ["AUTH", *filter(None, (at.username, at.password))] if at.password else []
        for command in filter(None, (words, ["MONITOR"])):
            self._socket.sendall(" ".join(command).encode() + b"\r\n")
            answer = self._socket.recv(100)
            assert answer.startswith(b"+OK"), answer
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(1 << 16):
            self._heard += data

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def text(self) -> str:
        """All of it, and what stands in it as base64: that is how a broker's message carries its body."""
        plain = bytes(self._heard)
        bodies = []
        for word in _BASE64.findall(plain):
            with contextlib.suppress(ValueError):
                bodies.append(base64.b64decode(word, validate=True))
        return b"\n".join([plain, *bodies]).decode(errors="replace")


@contextlib.contextmanager
def listening_to(url: str) -> Iterator[Wiretap]:
    """A wiretap for as long as the block lasts."""
    tap = Wiretap(url)
    try:
        yield tap
    finally:
        tap.close()


def tables(sessions: Sessions) -> dict[str, str]:
    """Every row of every table as JSON; of jobs without their params, the one place where a prompt belongs."""
    with sessions() as session:
        names = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        found = {}
        for name in names:
            row = "to_jsonb(t) - 'params'" if name == "jobs" else "to_jsonb(t)"
            rows = session.scalars(text(f"SELECT ({row})::text FROM {name} t"))  # noqa: S608  # names are Postgres' own
            found[name] = "\n".join(rows)
        return found


def files(folders: Iterable[Path]) -> dict[str, str]:
    """Every log file."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                found[str(path)] = path.read_bytes().decode(errors="replace")
    return found


def command_lines(processes: Iterable[int]) -> str:
    """What `ps` shows of processes and their children."""
    found = []
    for pid in processes:
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(pid)
            found += [" ".join(process.cmdline()) for process in (parent, *parent.children(recursive=True))]
    return "\n".join(found)
