"""A TCP proxy between a process and a service, and what goes wrong on the way, as the test orders it.

    proxy.freeze()                         half-open: connections stay, no byte moves, until `thaw`
    proxy.refuse()                         every connection breaks and no new one comes, until `accept`
    proxy.lose_answer(b"COMMIT", after=b"INSERT INTO artifacts")
                                           the service does it, whoever asked never hears of it

It knows bytes, not protocols: a trap is sprung when a connection sends a text after it has sent another. It forwards
what it does not trap as it is.
"""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

WAIT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16


class Action(Enum):
    """What a trap does with the bytes that spring it."""

    LOSE_ANSWER = auto()
    """Forward them, wait for the answer, throw it away and cut the connection."""
    LOSE_REQUEST = auto()
    """Cut the connection without forwarding them: from outside it looks the same."""
    HOLD = auto()
    """Keep them, and this connection, until `release`."""
    FREEZE = auto()
    """Keep them, and freeze the whole proxy until `thaw`."""
    NOTICE = auto()
    """Nothing but noticing that the answer came."""


@dataclass
class Trap:
    """Sprung once, by the first connection that sends `after` and then `text`."""

    action: Action
    text: bytes
    after: bytes = b""
    sprung: threading.Event = field(default_factory=threading.Event)
    """Set when it has happened: the answer was thrown away or came, or the bytes are held."""
    taken: bool = False
    _sent: "dict[_Link, bytes]" = field(default_factory=dict)
    """What each connection sent up since this trap was set."""
    _released: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float = WAIT_SECONDS) -> None:
        """Until it is sprung."""
        assert self.sprung.wait(seconds), f"nobody sent {self.text!r} after {self.after!r} within {seconds} s"

    def release(self) -> None:
        """Let a held connection go on."""
        self._released.set()

    def springs(self, link: "_Link", data: bytes) -> bool:
        """Called with what a connection sends. Only the first one springs it."""
        sent = (self._sent.get(link, b"") + data)[-4 * CHUNK_BYTES :]
        _, found, rest = sent.partition(self.after) if self.after else (b"", b"", sent)
        self.taken = self.text in rest and bool(found or not self.after)
        self._sent[link] = sent
        return self.taken

    def hold(self, give_up: threading.Event) -> None:
        """Called by the connection that sprung it."""
        self.sprung.set()
        while not self._released.wait(0.01) and not give_up.is_set():
            pass


@dataclass(eq=False)
class _Link:
    """One connection, both ends."""

    near: socket.socket
    far: socket.socket
    answers: Trap | None = None
    """The next bytes from the service answer what sprung this one."""

    def cut(self) -> None:
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Forwards `port` on loopback to `target_port`, until `close`."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay_seconds = 0.0
        """Added to every piece of data, both ways."""
        self._traps: list[Trap] = []
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what the test orders ---------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """No byte moves any more, in either direction; new connections are taken and left alone."""
        self._flowing.clear()

    def thaw(self) -> None:
        """What was under way goes on."""
        self._flowing.set()

    def refuse(self) -> None:
        """Cut every connection and take no new one."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def accept(self) -> None:
        """Take connections, on the same port as ever."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._take, self._listener)

    def cut(self) -> None:
        """Cut every connection; whoever comes again is let in."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.cut()

    def lose_answer(self, text: bytes, *, after: bytes = b"") -> Trap:
        """Whoever sends this never hears that it was done."""
        return self._set(Trap(Action.LOSE_ANSWER, text, after))

    def lose_request(self, text: bytes, *, after: bytes = b"") -> Trap:
        """Whoever sends this is cut off, and it was not done."""
        return self._set(Trap(Action.LOSE_REQUEST, text, after))

    def hold(self, text: bytes, *, after: bytes = b"") -> Trap:
        """This is kept back, with its connection, until the trap is released."""
        return self._set(Trap(Action.HOLD, text, after))

    def freeze_at(self, text: bytes, *, after: bytes = b"") -> Trap:
        """Freeze at the moment at which somebody sends this; it is kept back too."""
        return self._set(Trap(Action.FREEZE, text, after))

    def notice(self, text: bytes, *, after: bytes = b"") -> Trap:
        """Only tell when this was answered."""
        return self._set(Trap(Action.NOTICE, text, after))

    def close(self) -> None:
        """End it with every connection."""
        self._closed.set()
        self._flowing.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5)

    # --- how it works -----------------------------------------------------------------------------------------------

    def _set(self, trap: Trap) -> Trap:
        with self._lock:
            self._traps.append(trap)
        return trap

    def _start(self, target: object, *given: object) -> None:
        thread = threading.Thread(target=target, args=given, name="proxy", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _take(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target_port))
                except OSError:
                    near.close()
                    continue
                link = _Link(near, far)
                with self._lock:
                    self._links.add(link)
                self._start(self._pump, link, near, far)
                self._start(self._pump, link, far, near)

    def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        """One direction of one connection, until either end closes."""
        handle = self._up if source is link.near else self._down
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if not handle(link, data):
                    break
                sink.sendall(data)
        link.cut()
        with self._lock:
            self._links.discard(link)

    def _up(self, link: _Link, data: bytes) -> bool:
        """Look at what goes to the service. False: it must not arrive."""
        trap = self._sprung_by(link, data)
        if trap is None:
            return True
        if trap.action is Action.LOSE_REQUEST:
            trap.sprung.set()
            return False
        if trap.action is Action.HOLD:
            trap.hold(self._closed)
        elif trap.action is Action.FREEZE:
            self.freeze()
            trap.sprung.set()
            self._flowing.wait()
        else:
            link.answers = trap
        return True

    def _down(self, link: _Link, _data: bytes) -> bool:
        """Look at what comes back. False: it must not arrive."""
        trap, link.answers = link.answers, None
        if trap is None:
            return True
        trap.sprung.set()
        return trap.action is not Action.LOSE_ANSWER

    def _sprung_by(self, link: _Link, data: bytes) -> Trap | None:
        with self._lock:
            return next((trap for trap in self._traps if not trap.taken and trap.springs(link, data)), None)
