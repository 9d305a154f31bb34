"""Everything that could give a secret away, as text: what went through Redis, what lies in tables and logs."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy import text

from models.session import Sessions


class Wiretap:
    """Every command that anybody sends to Redis while it listens, as MONITOR tells it."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self._connection: Any = redis.Redis.from_url(url)
        self._monitor = self._connection.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(redis.RedisError, ValueError, OSError, AttributeError):
            for command in self._monitor.listen():
                self.heard.append(command["command"])

    def close(self) -> None:
        """Listen no more."""
        self._monitor.connection.disconnect()
        self._thread.join(5)
        self._connection.close()

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.heard)


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
