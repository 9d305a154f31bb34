"""gunicorn's settings, from ours: threads, because streams and waits hold one each (half of them at most)."""

import os
import shutil
from typing import Any

from models.settings import get_settings

_settings = get_settings()
_counts = _settings.home.resolve() / "metrics" / str(_settings.api_port)
"""Where several processes count for one another; see `api.metrics`."""
if _settings.api_workers > 1:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_counts)

bind = f"{_settings.api_host}:{_settings.api_port}"
workers = _settings.api_workers
worker_class = "api.server.PacedWorker"
threads = _settings.api_threads
worker_connections = 800
"""Fewer than the thousand files that a process may usually open: the rest is for Postgres, Redis and S3."""
keepalive = 15
timeout = 60
"""A worker whose main loop is stuck for so long is replaced; waiting requests do not count."""
graceful_timeout = 15
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
"""The three are gunicorn's own figures but for the fields: nobody sends us a hundred headers."""
accesslog = None
"""`api.access_log` writes the line of a request."""
control_socket_disable = True
"""It would lie in the home folder, one for all servers of a user."""
errorlog = "-"
loglevel = "info" if _settings.log_level.upper() == "DEBUG" else _settings.log_level.lower()
"""Its debug lines hold addresses as they were sent, and somebody puts a key into one some day."""
proc_name = "safelight-api"


def on_starting(_arbiter: Any) -> None:
    """What an earlier run counted is over."""
    if _settings.api_workers > 1:
        shutil.rmtree(_counts, ignore_errors=True)
        _counts.mkdir(parents=True)


def child_exit(_arbiter: Any, worker: Any) -> None:
    """A process that is gone holds no thread; what it counted stays."""
    if _settings.api_workers > 1:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # reads the variable above

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def post_worker_init(worker: Any) -> None:
    """End streams and waits when the worker is told to stop, instead of making it wait for them."""
    from api.services import services_of  # noqa: PLC0415  # the same

    services_of(worker.wsgi).stop_when(lambda: not worker.alive)
