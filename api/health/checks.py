"""Asking each service whether it answers, all at once and with one deadline."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

from sqlalchemy import text

from api.health.schemas import ServiceView
from api.services import Services

DEADLINE_SECONDS = 2.0


class Checks:
    """The checks of one app. A check that hangs is not started a second time meanwhile."""

    def __init__(self, services: Services) -> None:
        self._checks: dict[str, Callable[[], object]] = {
            "database": lambda: _ask_database(services),
            "redis": services.redis.ping,
            "s3": services.storage.ping,
        }
        self._running: dict[str, Future[object]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=len(self._checks), thread_name_prefix="health")

    def run(self) -> dict[str, ServiceView]:
        """The state of each service, within the deadline."""
        until = time.monotonic() + DEADLINE_SECONDS
        with self._lock:
            for name, check in self._checks.items():
                earlier = self._running.get(name)
                if earlier is None or earlier.done():
                    self._running[name] = self._pool.submit(check)
            futures = dict(self._running)
        return {name: _outcome(future, until) for name, future in futures.items()}


def _outcome(future: "Future[object]", until: float) -> ServiceView:
    try:
        future.result(timeout=max(0.0, until - time.monotonic()))
    except FutureTimeoutError:
        return ServiceView(state="down", detail="timeout")
    except Exception as error:  # noqa: BLE001  # whatever it is, the service does not serve
        return ServiceView(state="down", detail=type(error).__name__)
    return ServiceView(state="up")


def _ask_database(services: Services) -> None:
    with services.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
