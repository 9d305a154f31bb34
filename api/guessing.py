"""Keys that do not fit, counted by the address that sent them: nobody guesses at full speed, or keeps Postgres busy.

The count of a minute lies in Redis, so that all processes count together, and in this process's memory while Redis is
down or hung. It is looked up in memory alone: a request with a good key never asks Redis for it.
"""

import ipaddress
import threading
import time

import redis

from api.breaker import GuardedRedis

WINDOW_SECONDS = 60
MAX_ADDRESSES = 10_000
KEY_PREFIX = "safelight:guess:"
IPV6_PREFIX_BITS = 64
"""What one customer of a provider has."""


class Guesses:
    """Failures by address. Thread-safe."""

    def __init__(self, redis_: GuardedRedis, most: int) -> None:
        self._redis = redis_
        self._most = most
        self._counts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def wait_seconds(self, address: str | None) -> int:
        """How long this address may not try again; 0 when it may."""
        count, ends_at = self._counts.get(_bucket(address), (0, 0.0))
        left = ends_at - time.monotonic()
        return max(1, round(left)) if left > 0 and count >= self._most > 0 else 0

    def failed(self, address: str | None) -> None:
        """Another key that does not fit."""
        bucket = _bucket(address)
        now = time.monotonic()
        with self._lock:
            count, ends_at = self._counts.get(bucket, (0, 0.0))
            if ends_at <= now:
                count, ends_at = 0, now + WINDOW_SECONDS
            if len(self._counts) >= MAX_ADDRESSES:
                self._forget(now)
            self._counts[bucket] = (count + 1, ends_at)
        try:
            everywhere = int(self._redis.count(f"{KEY_PREFIX}{bucket}", WINDOW_SECONDS))
        except redis.RedisError:
            return
        with self._lock:
            count, ends_at = self._counts.get(bucket, (0, now + WINDOW_SECONDS))
            self._counts[bucket] = (max(count, everywhere), ends_at)

    def _forget(self, now: float) -> None:
        self._counts = {bucket: entry for bucket, entry in self._counts.items() if entry[1] > now}
        if len(self._counts) >= MAX_ADDRESSES:
            self._counts.clear()


def _bucket(address: str | None) -> str:
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, IPV6_PREFIX_BITS), strict=False))
