"""httpcore's network, pinned: it connects to addresses that were checked, whatever the name resolves to by now.

Every operation asks one deadline for what is left, so that a target that drips cannot keep a sender longer than one
that hangs. Proxies of the environment are not known here.
"""

# ruff: noqa: ARG002  # httpcore's interface names what we leave to the deadline

import socket
import ssl
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import httpcore

from worker.webhooks.outcome import Deadline, NotTakenError, Reason


def make_tls() -> ssl.SSLContext:
    """The system's trust: certificates and names are checked. Made once; reading the store takes a while."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Stream(httpcore.NetworkStream):
    """A socket under a deadline. Its timeouts are the deadline's, never the caller's."""

    def __init__(self, connection: socket.socket, deadline: Deadline, tls: ssl.SSLContext) -> None:
        self._socket = connection
        self._deadline = deadline
        self._tls = tls

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to that many bytes; none at the end."""
        self._socket.settimeout(self._deadline.left())
        try:
            return self._socket.recv(max_bytes)
        except TimeoutError:
            raise NotTakenError(Reason.TIMEOUT) from None
        except OSError as error:
            raise NotTakenError(Reason.PROTOCOL) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it."""
        while buffer:
            self._socket.settimeout(self._deadline.left())
            try:
                buffer = buffer[self._socket.send(buffer) :]
            except TimeoutError:
                raise NotTakenError(Reason.TIMEOUT) from None
            except OSError as error:
                raise httpcore.WriteError from error  # it may have answered before it closed: httpcore reads on

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """With our own context: httpcore sets ALPN on the one it is given, and threads that share it would race."""
        try:
            self._socket.settimeout(self._deadline.left())
            wrapped = self._tls.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError:
            self.close()
            raise NotTakenError(Reason.TIMEOUT) from None
        except (OSError, ValueError) as error:
            self.close()
            raise NotTakenError(Reason.TLS) from error
        return Stream(wrapped, self._deadline, self._tls)

    def close(self) -> None:
        """At once."""
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """Nothing: it is used for one request."""
        return None


class PinnedNetwork(httpcore.NetworkBackend):
    """Connects to the checked addresses, one after the other, each with its share of the time."""

    def __init__(self, addresses: Sequence[IPv4Address | IPv6Address], deadline: Deadline, tls: ssl.SSLContext) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._tls = tls

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """`host` is what the certificate will be checked against; it is not resolved again."""
        for place, address in enumerate(self._addresses):
            share = self._deadline.left() / (len(self._addresses) - place)
            try:
                connection = socket.create_connection((str(address), port), share)
            except OSError:
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Stream(connection, self._deadline, self._tls)
        self._deadline.left()
        raise NotTakenError(Reason.CONNECT)
