"""What a request may use: database sessions, blobs, the ticket sender, the progress board, the hub. One set per app.

Nothing connects before it is first used, so that an app may be made before the server forks.
"""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from flask import Flask, current_app
from sqlalchemy import Engine

from api.breaker import GuardedRedis, hasty_redis
from api.cache import Remembered
from api.guessing import Guesses
from api.hub import Hub
from api.monitor import Monitor
from api.slots import Slots
from models.jobs import CheckpointCard
from models.progress import ProgressBoard
from models.queue import TicketSender
from models.session import Sessions, make_engine, make_sessions
from models.settings import Settings
from models.states import Pool
from models.storage import Storage

_EXTENSION = "safelight"
CARD_SECONDS = 1.0
FLEET_SECONDS = 1.0
T = TypeVar("T")


class Lazy(Generic[T]):
    """A value that is made by whoever asks first."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        """The value; the same for every thread."""
        if self._value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
        return self._value


class Services:
    """Everything behind the API. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tickets = TicketSender(settings)
        self.cards: Remembered[tuple[str, str | None], tuple[CheckpointCard, ...]] = Remembered(CARD_SECONDS)
        self.fleet: Remembered[str, dict[Pool, int]] = Remembered(FLEET_SECONDS)
        self.streams = Slots(settings.api_threads // 2)
        self.waits = Slots(settings.api_threads // 4)
        self.decoders = Slots(max(1, settings.api_threads // 16))
        self.archives = Slots(max(1, settings.api_threads // 8))
        self._engine = Lazy(lambda: make_engine(settings, application="api"))
        self._sessions = Lazy(lambda: make_sessions(self._engine.get()))
        self._reader = Lazy(lambda: make_sessions(self.engine.execution_options(isolation_level="AUTOCOMMIT")))
        self._storage = Lazy(lambda: Storage(settings))
        self._redis = Lazy(lambda: GuardedRedis(hasty_redis(settings.redis_url)))
        self._board = Lazy(lambda: ProgressBoard(cast(Any, self._redis.get())))
        self._guesses = Lazy(lambda: Guesses(self._redis.get(), settings.failed_keys_per_minute))
        self._monitor = Lazy(lambda: Monitor(settings, lambda: self.sessions))
        self._hub = Lazy(lambda: Hub(settings, self._board.get(), self._stopping))
        self._should_stop: Callable[[], bool] = lambda: False

    @property
    def engine(self) -> Engine:
        """The pool of database connections."""
        return self._engine.get()

    @property
    def sessions(self) -> Sessions:
        """`with services.sessions.begin() as session:` is one transaction."""
        return self._sessions.get()

    @property
    def reader(self) -> Sessions:
        """Sessions in which each statement stands alone: reads without the trips of BEGIN and ROLLBACK."""
        return self._reader.get()

    @property
    def storage(self) -> Storage:
        """The bucket."""
        return self._storage.get()

    @property
    def redis(self) -> GuardedRedis:
        """Redis behind its circuit breaker."""
        return self._redis.get()

    @property
    def guesses(self) -> Guesses:
        """Keys that did not fit, by address."""
        return self._guesses.get()

    @property
    def monitor(self) -> Monitor:
        """What the invariant monitor found lately."""
        return self._monitor.get()

    @property
    def board(self) -> ProgressBoard:
        """Step progress and previews."""
        return self._board.get()

    @property
    def hub(self) -> Hub:
        """Wakes whoever waits for a job."""
        return self._hub.get()

    def stop_when(self, should_stop: Callable[[], bool]) -> None:
        """Streams and waits end soon after `should_stop` turns true."""
        self._should_stop = should_stop

    def _stopping(self) -> bool:
        return self._should_stop()

    def close(self) -> None:
        """End the hub and the connections; for tests and for a stopping worker."""
        self.hub.stop()
        self.engine.dispose()


def install(app: Flask, services: Services) -> None:
    """Give the app its services."""
    app.extensions[_EXTENSION] = services


def services_of(app: Flask) -> Services:
    """The services of an app."""
    return cast(Services, app.extensions[_EXTENSION])


def get_services() -> Services:
    """The services of the app that handles this request."""
    return services_of(current_app)
