"""The application's lines of the process table: every command line that Safelight starts stands here, and only here."""

import http.client
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from safelight.standalone.layout import Layout
from safelight.standalone.ports import LOOPBACK
from safelight.standalone.spec import API_RANK, SCHEDULER_RANK, WORKER_RANK, Kind, ProcessSpec

READY_PATH = "/v1/health/ready"
EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104  addresses that cannot be dialled, and what to dial instead

# Longer than gunicorn's own graceful timeout.
API_DRAIN_SECONDS = 20.0
# Longer than SAFELIGHT_DRAIN_SECONDS plus Celery's own soft shutdown.
WORKER_DRAIN_SECONDS = 45.0
# torch from a cold disk, several workers at once.
WORKER_READY_SECONDS = 180.0
# Longer than SAFELIGHT_WEBHOOK_TIMEOUT_SECONDS: what is on its way ends.
WEBHOOKS_DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Application:
    """What of the application to run, and where its API listens."""

    host: str
    port: int
    gpu_workers: int = 1
    cpu_workers: int = 1

    @property
    def dial(self) -> str:
        """The address by which this machine reaches the API."""
        return EVERYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The API's address as a person types it."""
        host = f"[{self.dial}]" if ":" in self.dial else self.dial
        return f"http://{host}:{self.port}"


def python(*argv: str) -> tuple[str, ...]:
    """A module of this installation, as a command line."""
    return (sys.executable, "-m", *argv)


def table(layout: Layout, application: Application) -> tuple[ProcessSpec, ...]:
    """The application, in the order in which it starts."""
    return (
        ProcessSpec("migrate", python("models.migrate"), Kind.TASK, needs=("postgres",), ready_seconds=300.0),
        ProcessSpec(
            "bootstrap",
            python("models.bootstrap", "--key-file", str(layout.key_file)),
            Kind.TASK,
            needs=("migrate", "seaweed"),
        ),
        ProcessSpec(
            "api",
            python("gunicorn", "-c", "python:api.gunicorn_conf", "api.wsgi:app"),
            needs=("migrate", "valkey"),
            probe=lambda: answers(application),
            hurry_signal=signal.SIGQUIT,
            drain_seconds=API_DRAIN_SECONDS,
            stop_rank=API_RANK,
            ports={"api": application.port},
        ),
        *(_worker(layout, "gpu", number, application.gpu_workers) for number in range(1, application.gpu_workers + 1)),
        *(_worker(layout, "cpu", number, application.cpu_workers) for number in range(1, application.cpu_workers + 1)),
        ProcessSpec("scheduler", python("worker.sweeper"), needs=("migrate", "valkey"), stop_rank=SCHEDULER_RANK),
        ProcessSpec(
            "webhooks",
            python("worker.webhooks"),
            needs=("migrate",),
            drain_seconds=WEBHOOKS_DRAIN_SECONDS,
            stop_rank=SCHEDULER_RANK,
        ),
    )


def _worker(layout: Layout, queue: str, number: int, count: int) -> ProcessSpec:
    argv = ("celery", "-q", "-A", "worker.app", "worker", "--pool", "prefork", "--concurrency", "1", "-Q", queue)
    # Workers do not need to know one another; looking for each other costs a second at every start.
    quiet = ("--without-mingle", "--without-gossip")
    name = f"{queue}-{number}"
    # A file and not a question to Postgres: rows of a run that was killed would answer for this one.
    ready = layout.run / f"{name}.ready"
    return ProcessSpec(
        name,
        python(*argv, "-n", f"{name}@%h", *quiet),
        needs=("migrate", "valkey"),
        environment={"SAFELIGHT_READY_FILE": str(ready), **(_device(number, count) if queue == "gpu" else {})},
        prepare=lambda: ready.unlink(missing_ok=True),
        probe=ready.exists,
        ready_seconds=WORKER_READY_SECONDS,
        hurry_signal=signal.SIGQUIT,
        drain_seconds=WORKER_DRAIN_SECONDS,
        stop_rank=WORKER_RANK,
    )


def _device(number: int, count: int) -> dict[str, str]:
    """One device for each of several GPU workers; a single one chooses for itself."""
    if count == 1:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    devices = visible.split(",") if visible else [str(index) for index in range(count)]
    return {"CUDA_VISIBLE_DEVICES": devices[(number - 1) % len(devices)]}


def environment(layout: Layout, application: Application, services: Mapping[str, str]) -> dict[str, str]:
    """What every process of the application is told."""
    own = {"SAFELIGHT_CHECKPOINT_CACHE": os.environ.get("SAFELIGHT_CHECKPOINT_CACHE", str(layout.home / "checkpoints"))}
    return {
        **own,
        **services,
        "SAFELIGHT_API_HOST": application.host,
        "SAFELIGHT_API_PORT": str(application.port),
        "SAFELIGHT_HOME": str(layout.home),
    }


def answers(application: Application) -> bool:
    """Whether the API says that it is ready."""
    connection = http.client.HTTPConnection(application.dial, application.port, timeout=5.0)
    try:
        connection.request("GET", READY_PATH)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
