"""Waiting for a job by long polling, over restarts of the API."""

import time
from collections.abc import Callable
from dataclasses import replace

from safelight.client.errors import ApiUnreachableError, WaitTimeoutError
from safelight.client.transport import Request, Transport
from safelight.client.values import Job

LONG_POLL_SECONDS = 25
"""Below the thirty seconds after which load balancers cut a silent connection."""
FASTEST_PROGRESS_SECONDS, SLOWEST_PROGRESS_SECONDS = 0.25, 5.0
PROGRESS_SHARE = 0.05
"""Progress is asked for each twentieth of the time waited: a short job is seen closely, a long one is not pestered."""
UNCOOPERATIVE_PAUSE_SECONDS = 0.5
UNBOUNDED = 1_000_000
"""Attempts: here the time alone is the bound."""

OnProgress = Callable[[Job], None]


class Waiter:
    """Waits for one job.  `patience_seconds` bounds how long the API may be away in one go."""

    def __init__(self, transport: Transport, job_id: str, patience_seconds: float) -> None:
        self._transport = transport
        self._job_id = job_id
        self._patience_seconds = patience_seconds
        self._began = time.monotonic()

    def wait(self, timeout_seconds: float | None = None, on_progress: OnProgress | None = None) -> Job:
        """The final job.

        Raises:
            WaitTimeoutError: it is not final in time.  ApiError, ApiUnreachableError: as for every request.
        """
        limit = float("inf") if timeout_seconds is None else timeout_seconds
        job: Job | None = None
        while True:
            step = self._step(limit, wants_progress=on_progress is not None)
            asked_at = time.monotonic()
            try:
                job = self._ask(int(step), limit)
            except ApiUnreachableError as error:
                if job is None or self._elapsed() < limit:
                    raise
                raise WaitTimeoutError(job, limit) from error
            if on_progress is not None:
                on_progress(job)
            if job.is_final:
                return job
            if self._elapsed() >= limit:
                raise WaitTimeoutError(job, limit)
            self._rest(step, time.monotonic() - asked_at, limit)

    def _step(self, limit: float, *, wants_progress: bool) -> float:
        """Seconds until the next look; whole ones are waited for by the API."""
        step = float(LONG_POLL_SECONDS)
        if wants_progress:
            shared = self._elapsed() * PROGRESS_SHARE
            step = min(SLOWEST_PROGRESS_SECONDS, max(FASTEST_PROGRESS_SECONDS, shared))
        return max(0.0, min(step, limit - self._elapsed()))

    def _ask(self, hold_seconds: int, limit: float) -> Job:
        transport = self._transport
        headers = {"Prefer": f"wait={hold_seconds}"} if hold_seconds else {}
        request = Request(
            "GET",
            f"/jobs/{self._job_id}",
            headers=headers,
            read_seconds=transport.timeout_seconds + hold_seconds,
        )
        outage = min(self._patience_seconds, max(0.0, limit - self._elapsed()))
        policy = replace(transport.policy, total_seconds=outage, attempts=UNBOUNDED)
        return Job.read(transport.json(request, policy))

    def _rest(self, step: float, took: float, limit: float) -> None:
        """Sleep what the API has not waited for us (less than a second, or a proxy dropped our Prefer)."""
        pause = step if step < 1 else UNCOOPERATIVE_PAUSE_SECONDS
        if took < step / 2:
            self._transport.sleep(max(0.0, min(pause, limit - self._elapsed())))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
