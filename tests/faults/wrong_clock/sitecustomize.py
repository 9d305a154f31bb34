"""Loaded by processes whose clock libfaketime bends (`tests.faults.test_clocks` puts this folder on their path).

libfaketime 0.9.10 answers EINVAL to `clock_nanosleep` while it leaves the monotonic clock alone, and that is how Python
sleeps: here it sleeps by `select`.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep
