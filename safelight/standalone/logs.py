"""One line format for every process: time, level, who, what.

Children write JSON, or text in their own taste; here it becomes the same.

``2026-01-31T12:00:00.123Z WARNING gpu-1 checkpoint not found checkpoint=emoji``
"""

import contextlib
import datetime as dt
import json
import logging.handlers
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 3
TAIL_LINES = 15
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

_ALIASES = {
    "WARN": "WARNING",
    "FATAL": "CRITICAL",
    "PANIC": "CRITICAL",
    "LOG": "INFO",
    "NOTICE": "INFO",
    "HINT": "INFO",
    "DETAIL": "INFO",
    "STATEMENT": "INFO",
    "CONTEXT": "INFO",
}
_GLOG = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "CRITICAL"}
_VALKEY = {".": "DEBUG", "-": "INFO", "*": "INFO", "#": "WARNING"}

# The shapes in which our children write text; the group ``level`` is looked up in the table beside it.
_SHAPES: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = (
    (re.compile(r"^(?P<level>[IWEF])\d{4} [\d:.]+ +(?:\d+ )?(?P<text>.*)$"), _GLOG),
    (re.compile(r"^\d+:[A-Z] \d+ \w+ \d{4} [\d:.]+ (?P<level>[.\-*#]) (?P<text>.*)$"), _VALKEY),
    (re.compile(r"^\[[\d\-: ,.+]+\] \[\d+\] \[(?P<level>[A-Z]+)\] (?P<text>.*)$"), _ALIASES),
    (re.compile(r"^\[[\d\-: ,.]+: (?P<level>[A-Z]+)/[\w\-]+\] (?P<text>.*)$"), _ALIASES),
    (re.compile(r"^(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC)\b:? +(?P<text>.*)$"), _ALIASES),
    (re.compile(r"^(?P<level>LOG|NOTICE|HINT|DETAIL|STATEMENT|CONTEXT): +(?P<text>.*)$"), _ALIASES),
)
_TRACEBACK = "Traceback (most recent call last):"
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Line:
    """One normalised line."""

    at: str
    level: str
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.at} {self.level:<7} {self.source} {self.text}"


def now() -> str:
    """The present moment as every log line writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(source: str, raw: str, previous_level: str = "INFO") -> Line | None:
    """Understand one line of a child; None for an empty one.  A line without a level continues the one before it."""
    raw = _CONTROL.sub("", raw).rstrip()
    if not raw:
        return None
    if raw.startswith("{"):
        record = _json(raw)
        if record is not None:
            return _structured(source, record)
    for shape, levels in _SHAPES:
        match = shape.match(raw)
        if match:
            name = match["level"]
            return Line(now(), levels.get(name, name), source, match["text"])
    if raw.startswith(_TRACEBACK):
        return Line(now(), "ERROR", source, raw)
    return Line(now(), previous_level if raw[0].isspace() or previous_level == "ERROR" else "INFO", source, raw)


def _json(raw: str) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _structured(source: str, record: dict[str, Any]) -> Line:
    level = str(record.pop("level", "info")).upper()
    at = _milliseconds(str(record.pop("timestamp", now())))
    text = str(record.pop("event", record.pop("message", "")))
    record.pop("process", None)  # the supervisor's name for it stands on every line
    extra = " ".join(f"{name}={value}" for name, value in record.items())
    whole = f"{text} {extra}".rstrip().replace("\n", "\n  | ")
    return Line(at, _ALIASES.get(level, level), source, whole)


def _milliseconds(timestamp: str) -> str:
    whole, point, fraction = timestamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction[:3]:0<3}Z" if not point or fraction.isdigit() else timestamp


@dataclass
class Journal:
    """The log of one process: a file that rotates, the last lines in memory, and a word to whoever listens."""

    source: str
    folder: Path
    listener: Callable[[Line], None]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def __post_init__(self) -> None:
        self._level = "INFO"
        self._rest = b""
        self._file = logging.handlers.RotatingFileHandler(
            self.folder / f"{self.source}.log", maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, delay=True
        )
        self._file.setFormatter(logging.Formatter("%(message)s"))

    def feed(self, data: bytes) -> None:
        """Take what the child wrote, in pieces of any size."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_FILE_BYTES // 10:
            whole, self._rest = [*whole, self._rest], b""
        for raw in whole:
            line = parse(self.source, raw.decode(errors="replace"), self._level)
            if line is not None:
                self._level = line.level
                self.write(line)

    def note(self, level: str, text: str) -> None:
        """A line of the supervisor's own about this process."""
        self.write(Line(now(), level, self.source, text))

    def write(self, line: Line) -> None:
        """Keep the line and pass it on."""
        self.tail.append(line.text)
        self._file.emit(logging.LogRecord("", LEVELS.get(line.level, 20), "", 0, str(line), None, None))
        with contextlib.suppress(OSError):  # a terminal that went away must not stop the reading of the pipe
            self.listener(line)

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._rest:
            self.feed(b"\n")
        self._file.close()
