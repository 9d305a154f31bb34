"""Where a webhook may go: its name is resolved once, every address is checked, and only those are connected to.

A name that has one bad address among good ones is refused: whoever mixes them wants to be connected to the bad one.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from models.errors import ValidationFailedError
from models.webhooks.addresses import is_public_address
from models.webhooks.urls import check_url
from worker.webhooks.outcome import Deadline, NotTakenError, Reason

DEFAULT_PORTS = {"https": 443, "http": 80}

Lookup = Callable[[str, int], Sequence[str]]
"""Host and port to numeric addresses, in the order to try them."""


@dataclass(frozen=True)
class Target:
    """A URL that may be sent to, and the addresses that were checked."""

    scheme: str
    host: str
    """For TLS and the certificate: without a trailing dot."""
    port: int
    path: str
    """With its query."""
    addresses: tuple[IPv4Address | IPv6Address, ...]

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def system_lookup(host: str, port: int) -> Sequence[str]:
    """As this machine resolves names."""
    found = []
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        zone = f"%{address[3]}" if len(address) == 4 and address[3] else ""  # noqa: PLR2004  # an IPv6 one has four
        found.append(f"{address[0]}{zone}")
    return list(dict.fromkeys(found))


def locate(url: str, deadline: Deadline, *, allow_private: bool, lookup: Lookup = system_lookup) -> Target:
    """Check the URL, resolve its name once and check what came of it.

    Raises:
        NotTakenError: it may not be sent to, or its name leads nowhere.
    """
    try:
        check_url(url, allow_private=allow_private)
    except ValidationFailedError as error:
        private = error.fields[0].code == "private_address"
        raise NotTakenError(Reason.REFUSED_ADDRESS if private else Reason.REFUSED_URL) from error
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    addresses = tuple(ip_address(found) for found in _resolve(lookup, host, port, deadline))
    if not addresses:
        raise NotTakenError(Reason.DNS)
    if not allow_private and not all(map(is_public_address, addresses)):
        raise NotTakenError(Reason.REFUSED_ADDRESS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, addresses)


def _resolve(lookup: Lookup, host: str, port: int, deadline: Deadline) -> Sequence[str]:
    """Look up in a thread of its own: the system's resolver cannot be interrupted, so it is left behind."""
    answer: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def look() -> None:
        try:
            answer.put(lookup(host, port))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=look, name="look-up", daemon=True).start()
    try:
        found = answer.get(timeout=deadline.left())
    except Empty:
        raise NotTakenError(Reason.TIMEOUT) from None
    if isinstance(found, Exception):
        raise NotTakenError(Reason.DNS) from found
    return found
