"""What a webhook's URL may look like: the checks that need no look-up, at the border where it is given.

What its name resolves to is checked each time that something is sent, in `worker.webhooks`.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from models.errors import FieldError, ValidationFailedError
from models.webhooks.addresses import is_public_address

MAX_URL_CHARS = 2000
MAX_HOST_CHARS = 253
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_NETLOC = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:[0-9]{1,5})?")
"""urlsplit forgets what stands beside the brackets of an IPv6 address."""
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LOCAL_NAMES = ("localhost", "localhost.localdomain")


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_url(url: str, *, allow_private: bool, pointer: str = "/url") -> None:
    """Whether something may be sent there at all. `allow_private` also lets http and local addresses through.

    Raises:
        ValidationFailedError: with the field at `pointer`.
    """
    try:
        parts = _parts(url)
        _check_scheme(parts, allow_private=allow_private)
        _check_host(parts.hostname or "", allow_private=allow_private)
    except _RefusedError as refused:
        raise ValidationFailedError([FieldError(pointer, refused.code, str(refused))]) from refused


def _parts(url: str) -> SplitResult:
    # Spaces, controls and backslashes are read differently by every parser; names of other scripts have an ASCII form.
    if len(url) > MAX_URL_CHARS or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise _RefusedError("bad_url", f"Must be a URL of at most {MAX_URL_CHARS} ASCII characters, without blanks.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _RefusedError("bad_url", "Must be a URL with a host, and a port from 1 to 65535 if any.") from error
    if "@" in parts.netloc:
        raise _RefusedError("credentials", "Must not hold a user name or password; the signature says who sends.")
    if not parts.hostname or port == 0 or not _NETLOC.fullmatch(parts.netloc):
        raise _RefusedError("bad_url", "Must be a URL with a host, and a port from 1 to 65535 if any.")
    if "#" in url:
        raise _RefusedError("fragment", "Must not have a fragment: it would not be sent.")
    return parts


def _check_scheme(parts: SplitResult, *, allow_private: bool) -> None:
    if parts.scheme not in {"https", "http"} or (parts.scheme == "http" and not allow_private):
        raise _RefusedError("https_needed", "Must begin with https://")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the host is, if it is one; None for a name."""
    if ":" in host:
        try:
            return ip_address(host)
        except ValueError as error:
            raise _RefusedError("bad_url", "Must have a valid IPv6 address in its brackets.") from error
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # `127.1`, `0x7f000001` and `2130706433` are addresses to a resolver: one form is enough.
        try:
            return IPv4Address(".".join(labels))
        except ValueError as error:
            raise _RefusedError("bad_url", "An IPv4 address must be four decimal numbers.") from error
    if len(host) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise _RefusedError("bad_url", "Must have a valid host name; write other scripts in their ASCII form (xn--…).")
    return None


def _check_host(host: str, *, allow_private: bool) -> None:
    address, name = _literal(host), host.removesuffix(".").lower()
    inside = name in _LOCAL_NAMES or name.endswith(".localhost") if address is None else not is_public_address(address)
    if inside and not allow_private:
        raise _RefusedError("private_address", "Must be an address of the public internet.")
