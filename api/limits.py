"""The rate limit: per key, counted in Redis, and in this process's memory while Redis is down or hung.

Flask-Limiter notices a dead Redis by the first request that fails, counts in memory from there on, and asks again
after 1, 2, 4 … 32 s. With a timeout of 0.1 s and no second try, that is all a dead Redis ever costs.
"""

import logging
import time

from flask import Flask, Response, g
from flask_limiter import Limiter, RequestLimit

from api.breaker import hasty_options
from models.settings import Settings

KEY_PREFIX = "safelight:rate"


def install_limits(app: Flask, settings: Settings) -> Limiter | None:
    """After the key was checked, before the view. None when the limit is off."""
    if not settings.rate_limit:
        return None
    limiter = Limiter(
        _key,
        application_limits=[settings.rate_limit],
        storage_uri=settings.redis_url,
        storage_options=hasty_options(),
        in_memory_fallback=[settings.rate_limit],
        # Two requests may meet the moment in which Redis dies; the second one then passes uncounted instead of failing.
        swallow_errors=True,
        on_breach=_remember_reset,
        key_prefix=KEY_PREFIX,
        request_identifier=lambda: "key",
    )
    # Public endpoints have no key to count by.
    limiter.request_filter(lambda: "principal" not in g)
    limiter.logger.addFilter(_without_traceback)
    limiter.init_app(app)
    return limiter


def _without_traceback(record: logging.LogRecord) -> bool:
    """One line for each request that met the dying Redis is enough."""
    record.exc_info = None
    return True


def _key() -> str:
    return str(g.principal.key_id)


def _remember_reset(limit: RequestLimit) -> Response | None:
    # Flask-Limiter rounds up to the next second, beyond the window's own length.
    left = round(limit.reset_at - time.time())
    g.rate_reset_seconds = min(max(1, left), limit.limit.get_expiry())
    return None
