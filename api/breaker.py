"""A circuit breaker round Redis: while it is down or hung, one caller pays a short timeout every few seconds."""

import threading
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

OPEN_SECONDS = 3.0
"""How long nobody asks a Redis that did not answer."""
TIMEOUT_SECONDS = 0.1

_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class GuardedRedis:
    """The few commands that requests need; anything else belongs to a plain client.

    Raises `redis.ConnectionError` at once while the circuit is open.
    """

    def __init__(self, connection: "redis.Redis", open_seconds: float = OPEN_SECONDS) -> None:
        self._redis: Any = connection
        self._open_seconds = open_seconds
        self._closed_again_at = 0.0
        self._lock = threading.Lock()

    def mget(self, keys: list[str]) -> Any:
        """Many values, None where there is none."""
        return self._guarded("mget", keys)

    def get(self, key: str) -> Any:
        """One value."""
        return self._guarded("get", key)

    def count(self, key: str, seconds: int) -> Any:
        """Add one to a counter that lives for `seconds` from its first one on; its new value."""
        return self._guarded("eval", _COUNT, 1, key, seconds)

    def ping(self) -> Any:
        """Whether Redis answers."""
        return self._guarded("ping")

    def _guarded(self, command: str, *arguments: Any) -> Any:
        with self._lock:
            now = time.monotonic()
            if now < self._closed_again_at:
                raise redis.ConnectionError("Redis did not answer a moment ago")
            probing = self._closed_again_at > 0
            if probing:
                # This caller asks; those that come meanwhile are turned away as before.
                self._closed_again_at = now + self._open_seconds
        try:
            answer = getattr(self._redis, command)(*arguments)
        except redis.RedisError:
            self._closed_again_at = time.monotonic() + self._open_seconds
            raise
        self._closed_again_at = 0.0
        return answer


def hasty_redis(url: str) -> "redis.Redis":
    """A client that gives up after a tenth of a second and never tries twice."""
    return redis.Redis.from_url(url, **hasty_options())


def hasty_options() -> dict[str, Any]:
    """What makes a client hasty; redis-py's own default tries three times."""
    return {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
