"""Free ports on loopback, and remembering them from one run to the next."""

import contextlib
import json
import random
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from safelight.standalone.errors import PortTakenError

LOOPBACK = "127.0.0.1"
DEFAULT_API_PORT = 8400
# Below every system's ephemeral range: no outgoing connection can take a chosen port before its server binds it.
LOWEST, HIGHEST = 15_000, 21_999
# SeaweedFS assumes that its admin server's gRPC port lies this far above the HTTP port.
GRPC_OFFSET = 10_000


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could bind this port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it, so that connections in TIME_WAIT from our own last run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def usable(port: int) -> bool:
    """Whether this port and its gRPC partner are both free."""
    return is_free(port) and is_free(port + GRPC_OFFSET)


def _candidates() -> Iterator[int]:
    # Not a secret; it only spreads homes that start at the same moment.
    yield from random.sample(range(LOWEST, HIGHEST + 1), HIGHEST + 1 - LOWEST)


def assign(names: tuple[str, ...], remembered: Mapping[str, int]) -> dict[str, int]:
    """A free port for every name: the remembered one where it is still free, else a new one."""
    chosen: dict[str, int] = {}
    candidates = _candidates()
    for name in names:
        port = remembered.get(name, 0)
        while port in chosen.values() or not LOWEST <= port <= HIGHEST or not usable(port):
            port = next(candidates)
        chosen[name] = port
    return chosen


def choose_api_port(given: int | None, remembered: int | None, default: int, host: str) -> int:
    """The API's port: what the person gave, else the last one, else the default, else any free one.

    Raises PortTakenError when the given port is taken: a person who names a port wants that port.
    """
    if given is not None:
        if not is_free(given, host):
            message = f"port {given} on {host} is taken by another program"
            raise PortTakenError(message, remedy="end that program, or choose another port with --port")
        return given
    for port in (remembered, default):
        if port is not None and is_free(port, host):
            return port
    return next(port for port in _candidates() if is_free(port, host))


def load(path: Path) -> dict[str, int]:
    """The ports of the last run; nothing at all when the file is missing or broken."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    return {}


def save(path: Path, ports: Mapping[str, int]) -> None:
    """Remember the ports for the next run."""
    path.write_text(json.dumps(dict(ports), indent=2) + "\n")
