"""`Prefer: wait=N` and `?wait=N`: block until a job is final, as long as a thread can be spared for it."""

import re
import socket
import time
from uuid import UUID

from flask import request

from api.services import Services
from models.jobs.queries import get_states
from models.states import FINAL_STATES

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)
LOOK_SECONDS = 1.0
"""How often a waiter looks whether its client is still there."""


def wanted_seconds(prefer: str | None, wait: int | None, most: int) -> int:
    """How long the client wants to wait, capped. A preference that cannot be read is ignored (RFC 7240)."""
    if wait is None and prefer is not None and (match := _WAIT.search(prefer)):
        wait = int(match.group(1))
    return min(wait or 0, most)


def wait_until_final(services: Services, job_id: UUID, seconds: float) -> bool:
    """Wait at most `seconds`. False when there was no place to wait: the caller answers at once, as it may."""
    slot = services.waits.take()
    if slot is None:
        return False
    until = time.monotonic() + seconds
    with slot, services.hub.watch(job_id) as watch:
        look = True
        while True:
            if look and _is_final(services, job_id):
                return True
            remaining = until - time.monotonic()
            if remaining <= 0 or client_is_gone():
                return True
            wake = watch.wait(min(remaining, LOOK_SECONDS))
            if wake.stopping:
                return True
            look = wake.events


def client_is_gone() -> bool:
    """Whether the peer closed its side of the connection, where the server lets us see it."""
    peer = request.environ.get("gunicorn.socket")
    if peer is None:
        return False
    return peer_is_gone(peer)


def peer_is_gone(peer: socket.socket) -> bool:
    """A closed peer reads as the end of the stream; one that is quiet does not read at all."""
    try:
        return peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except (OSError, ValueError):
        return True


def _is_final(services: Services, job_id: UUID) -> bool:
    with services.reader() as session:
        state = get_states(session, [job_id]).get(job_id)
    return state is None or state in FINAL_STATES
