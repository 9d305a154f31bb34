"""The proxy itself: what a test orders is what happens on the line."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy


class Echo:
    """A service that answers each line with itself, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as lines:
            for line in lines:
                self.heard.append(line.strip())
                lines.write(line)
                lines.flush()


@pytest.fixture
def echo() -> Iterator[Echo]:
    service = Echo()
    yield service
    service.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


class Caller:
    """Says a line, and hears one."""

    def __init__(self, proxy: Proxy) -> None:
        self.connection = socket.create_connection(("127.0.0.1", proxy.port), 10)

    def say(self, text: bytes) -> None:
        self.connection.sendall(text + b"\n")

    def hear(self) -> bytes:
        return self.connection.recv(100).strip()

    def hears_nothing(self) -> bool:
        self.connection.settimeout(0.3)
        try:
            return not self.connection.recv(100)
        except TimeoutError:
            return True
        finally:
            self.connection.settimeout(10)


@pytest.fixture
def caller(proxy: Proxy) -> Iterator[Caller]:
    caller = Caller(proxy)
    yield caller
    caller.connection.close()


def test_it_forwards_both_ways(caller: Caller) -> None:
    caller.say(b"hello")
    assert caller.hear() == b"hello"


def test_frozen_it_moves_no_byte_and_thawed_none_is_lost(proxy: Proxy, caller: Caller, echo: Echo) -> None:
    proxy.freeze()
    caller.say(b"hello")
    assert caller.hears_nothing()
    assert echo.heard == []
    proxy.thaw()
    assert caller.hear() == b"hello"


def test_refused_it_breaks_and_lets_nobody_in(proxy: Proxy, caller: Caller) -> None:
    caller.say(b"hello")
    assert caller.hear() == b"hello"
    proxy.refuse()
    assert caller.hear() == b""
    with pytest.raises(ConnectionRefusedError):
        Caller(proxy)
    proxy.accept()
    again = Caller(proxy)
    again.say(b"hello")
    assert again.hear() == b"hello"
    again.connection.close()


def test_a_lost_answer_was_given(proxy: Proxy, caller: Caller, echo: Echo) -> None:
    """Given a trap for the second text after the first, then the service does it, and the caller is cut off."""
    trap = proxy.lose_answer(b"COMMIT", after=b"INSERT")
    for text in (b"COMMIT", b"INSERT"):
        caller.say(text)
        assert caller.hear() == text
    caller.say(b"COMMIT")
    assert caller.hear() == b""
    trap.wait()
    assert echo.heard == [b"COMMIT", b"INSERT", b"COMMIT"]
    again = Caller(proxy)
    for text in (b"INSERT", b"COMMIT"):
        again.say(text)
        assert again.hear() == text, "a trap is sprung once"
    again.connection.close()


def test_a_lost_request_never_arrives(proxy: Proxy, caller: Caller, echo: Echo) -> None:
    trap = proxy.lose_request(b"COMMIT")
    caller.say(b"COMMIT")
    assert caller.hear() == b""
    trap.wait()
    assert echo.heard == []


def test_a_held_connection_waits_while_others_go_on(proxy: Proxy, caller: Caller, echo: Echo) -> None:
    trap = proxy.hold(b"slow")
    caller.say(b"slow")
    trap.wait()
    other = Caller(proxy)
    other.say(b"quick")
    assert other.hear() == b"quick"
    assert echo.heard == [b"quick"]
    trap.release()
    assert caller.hear() == b"slow"
    other.connection.close()


def test_a_trap_can_freeze_everything(proxy: Proxy, caller: Caller, echo: Echo) -> None:
    trap = proxy.freeze_at(b"now")
    caller.say(b"now")
    trap.wait()
    other = Caller(proxy)
    other.say(b"quick")
    assert other.hears_nothing()
    assert echo.heard == []
    proxy.thaw()
    assert (caller.hear(), other.hear()) == (b"now", b"quick")
    other.connection.close()


def test_a_notice_changes_nothing(proxy: Proxy, caller: Caller) -> None:
    trap = proxy.notice(b"two", after=b"one")
    for text in (b"one", b"two"):
        assert not trap.sprung.is_set()
        caller.say(text)
        assert caller.hear() == text
    trap.wait()


def test_a_delayed_line_keeps_every_byte_in_order(proxy: Proxy, caller: Caller) -> None:
    proxy.delay_seconds = 0.05
    texts = [b"one", b"two", b"three"]
    for text in texts:
        caller.say(text)
    with caller.connection.makefile("rb") as lines:
        assert [next(lines).strip() for _ in texts] == texts
