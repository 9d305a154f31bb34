"""What several tests of the API do: run a job to its end, be a worker, wait, pick a port."""

import socket
import time
import uuid
from collections.abc import Callable

from models import daemons
from models.daemons import DaemonKind
from models.jobs import Output, publish
from models.session import Sessions
from models.states import Pool
from models.storage import Storage
from models.workers import say_alive
from tests.seeding import Seeder

PATIENCE_SECONDS = 10


def succeed(seed: Seeder, sessions: Sessions, storage: Storage, images: int = 1) -> uuid.UUID:
    """Run the head of the queue to its end, and say which job it was."""
    (claimed,) = seed.claim(max_images=1)
    outputs = []
    for index in range(images):
        key = f"results/{claimed.job_id}/a1/{index}-{uuid.uuid4().hex}.png"
        storage.put(key, b"picture", "image/png")
        outputs.append(Output(index, key, uuid.uuid4().hex, "image/png", 7, 64, 64, 7))
    with sessions.begin() as session:
        publish(session, claimed.hold, outputs, {"run_seconds": 0.5})
    return claimed.job_id


def hear_of_a_worker(sessions: Sessions, name: str = "one") -> None:
    """A worker of the GPU pool says that it is alive."""
    with sessions.begin() as session:
        say_alive(session, name=name, pool=Pool.GPU, host="here", pid=1, device="cpu", resident=[], info={})


def hear_of_a_sweeper(sessions: Sessions) -> None:
    """A sweeper that has swept for an hour says that it is alive."""
    with sessions.begin() as session:
        daemons.say_alive(session, name="s", kind=DaemonKind.SWEEPER, host="here", pid=1, working_seconds=3600)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
