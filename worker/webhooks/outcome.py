"""Why a try did not count: the vocabulary of the delivery log. A leaf."""

import time
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Short stable words. What the target itself said is never among them."""

    REFUSED_URL = "refused_url"
    """A URL that is not sent to (any more): its scheme, or its form."""
    REFUSED_ADDRESS = "refused_address"
    """The name leads to an address that is not of the public internet."""
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    """The answer was no HTTP, or broke off before its status and headers were there."""
    REDIRECT = "redirect"
    """A 3xx: followed it could lead anywhere."""
    STATUS = "status"
    """Any other answer that is no 2xx."""
    INTERNAL = "internal"
    """Our own mistake; the dispatcher's log says more."""


FINAL: frozenset[Reason] = frozenset({Reason.REFUSED_URL, Reason.REFUSED_ADDRESS})
"""Not tried again: the target is not allowed."""


class NotTakenError(Exception):
    """The target did not take the message."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass
class Deadline:
    """The end of a try, by the monotonic clock. Whatever blocks asks for what is left."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """From now."""
        return cls(time.monotonic() + seconds)

    def shorten(self, seconds: float) -> None:
        """No later than that from now."""
        self.at = min(self.at, time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds until the end, above 0.

        Raises:
            NotTakenError: `timeout`; it has passed.
        """
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise NotTakenError(Reason.TIMEOUT)
        return seconds
