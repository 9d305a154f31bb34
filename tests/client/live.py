"""The real API as a process on the test's own services, and a worker that is played by hand."""

import contextlib
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
from PIL import Image

from models.artifacts import result_key
from models.jobs import ClaimedJob, Output, publish
from models.storage import Storage
from tests.seeding import Seeder

START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Api:
    """An API that can be stopped and started again on the same port."""

    environment: Mapping[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        own = {"SAFELIGHT_API_PORT": str(self.port), "SAFELIGHT_API_THREADS": "16", "SAFELIGHT_LOG_LEVEL": "ERROR"}
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:api.gunicorn_conf", "api.wsgi:app"]
        self.process = subprocess.Popen(argv, env={**os.environ, **self.environment, **own}, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the API ended"
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/v1/health/live", timeout=1).is_success:
                    return
            time.sleep(0.05)
        raise AssertionError("the API did not answer")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@contextlib.contextmanager
def running_api(environment: Mapping[str, str]) -> Iterator[Api]:
    api = Api(environment)
    try:
        api.start()
        yield api
    finally:
        api.stop()


def work(seed: Seeder, storage: Storage, claimed: Sequence[ClaimedJob] | None = None) -> list[str]:
    """Publish a green picture for each job that is queued (or was claimed before); their ids."""
    done = []
    for job in seed.claim() if claimed is None else claimed:
        picture = io.BytesIO()
        Image.new("RGB", (64, 64), (0, 200, 0)).save(picture, "PNG")
        content = picture.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        key = result_key(job.job_id, job.hold.attempt, 0, digest, "png")
        storage.put(key, content, "image/png")
        output = Output(0, key, digest, "image/png", len(content), 64, 64, 7)
        with seed.sessions.begin() as session:
            publish(session, job.hold, [output], {})
        done.append(str(job.job_id))
    return done
