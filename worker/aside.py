"""Small duties off the device's path: one thread, in order, and nothing of it may fail a job."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

log = structlog.get_logger()


class Aside:
    """Runs callables one after the other; what they raise is logged."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aside")

    def do(self, name: str, work: Callable[[], object]) -> None:
        """Queue `work`; returns at once."""
        self._thread.submit(_guarded, name, work)

    def close(self) -> None:
        """Finish what is queued."""
        self._thread.shutdown(wait=True)


def _guarded(name: str, work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001  # a side duty never matters enough
        log.warning("a side duty failed", duty=name, error=type(error).__name__)
