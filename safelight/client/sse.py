"""Server-sent events: bytes in, events out (WHATWG HTML, section 9.2.6).  Knows nothing of connections."""

import json
from typing import Any

from safelight.client.values import Event


class EventParser:
    """Fed with pieces of any size; a line ends with LF, CR or CRLF, an event with an empty line."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._name = ""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        if piece:
            self._after_cr = piece.endswith(b"\r")
        *whole, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        found = (self._line(line.decode(errors="replace")) for line in whole)
        return [event for event in found if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")  # a comment has an empty field name
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        name, text, event_id = self._name or "message", "\n".join(self._data), self._id
        self._name, self._data, self._id = "", [], None
        return Event(name, _object(text), event_id) if text else None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"value": found}
