"""When a request may be sent again, and how long to wait before: pure functions and one frozen policy."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRYABLE_STATUSES: frozenset[int] = frozenset({429, 502, 503, 504})
"""The API, or what stands before it, is busy or away for a moment."""
REFUSED_STATUSES: frozenset[int] = frozenset({429})
"""Surely nothing was done: may be sent again whatever the request was."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the retries of one request.  `attempts` counts the first one; 1 turns retries off."""

    attempts: int = 6
    total_seconds: float = 60.0
    base_seconds: float = 0.25
    max_seconds: float = 10.0
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def delay_seconds(self, attempt: int, retry_after_seconds: float | None = None) -> float:
        """The pause after the failed `attempt` (1 is the first): what the server asked for, else exponential.

        Half of the exponential pause is random, so that clients which failed together do not come back together.
        """
        if retry_after_seconds is not None:
            return retry_after_seconds
        pause = min(self.max_seconds, self.base_seconds * 2.0 ** (attempt - 1))
        return pause * (0.5 + 0.5 * self.jitter())

    def next_delay(
        self, attempt: int, elapsed_seconds: float, retry_after_seconds: float | None = None
    ) -> float | None:
        """The pause before another try, or None when the bounds allow none."""
        pause = self.delay_seconds(attempt, retry_after_seconds)
        if attempt >= self.attempts or elapsed_seconds + pause > self.total_seconds:
            return None
        return pause


NO_RETRIES = RetryPolicy(attempts=1)


def retry_after(header: str | None) -> float | None:
    """`Retry-After` in seconds: a number, or a date (RFC 9110, section 10.2.3); None when absent or not understood."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
