"""What the invariant monitor found, a few seconds ago at most: asked once for however many look at it."""

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from models.invariants import Health, examine
from models.session import Sessions
from models.settings import Settings

HEALTH_SECONDS = 5.0


class Monitor:
    """One examination at a time; whoever comes meanwhile gets the last one. Anybody may ask, so it costs nothing."""

    def __init__(self, settings: Settings, sessions: Callable[[], Sessions], seconds: float = HEALTH_SECONDS) -> None:
        self._settings = settings
        self._sessions = sessions
        self._seconds = seconds
        self._found: Health | SQLAlchemyError | None = None
        self._asked_at = 0.0
        self._lock = threading.Lock()

    def health(self) -> Health:
        """The newest examination.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: Postgres does not answer, or did not a moment ago.
        """
        found = self._found
        # Who has nothing to show must wait; the others leave it to whoever asks already.
        if (found is None or not self._is_fresh()) and self._lock.acquire(blocking=found is None):
            try:
                found = self._ask()
            finally:
                self._lock.release()
        if isinstance(found, Health):
            return found
        raise SQLAlchemyError("Postgres did not answer the monitor") from found

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked_at < self._seconds

    def _ask(self) -> Health | SQLAlchemyError:
        if self._found is not None and self._is_fresh():  # somebody else was quicker
            return self._found
        found: Health | SQLAlchemyError
        try:
            found = examine(self._sessions(), self._settings)
        except SQLAlchemyError as error:
            found = error
        self._found, self._asked_at = found, time.monotonic()
        return found
