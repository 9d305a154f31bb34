"""Following a job's events over broken connections, by Last-Event-ID."""

import time
from collections.abc import Iterator

import httpx

from safelight.client.errors import ApiError, ApiUnreachableError, StreamBrokenError
from safelight.client.retry import RETRYABLE_STATUSES
from safelight.client.sse import EventParser
from safelight.client.transport import Request, Transport
from safelight.client.values import FINAL_STATES, Event

SILENCE_SECONDS = 45.0
"""Three of the API's heartbeats: a connection that is silent for longer is dead."""

VAIN_STREAMS = 3
"""So many streams of a final job in a row without its terminal event: it will not come."""


class EventFollower:
    """The events of one job, each once and in order, until the terminal one."""

    def __init__(self, transport: Transport, job_id: str, after: str | None, patience_seconds: float) -> None:
        self._transport = transport
        self._job_id = job_id
        self._last_id = after
        self._patience_seconds = patience_seconds
        self._failures = 0
        self._nothing_more = False
        self._vain = 0
        self._connected_at = time.monotonic()

    def __iter__(self) -> Iterator[Event]:
        while True:
            error: ApiError | ApiUnreachableError
            try:
                for event in self._one_connection():
                    yield event
                    if event.is_terminal:
                        return
                if self._is_over():
                    return
                error = StreamBrokenError(f"The event stream of job {self._job_id} ended before the job did.")
            except ApiUnreachableError as failure:
                error = failure
            except ApiError as refusal:
                if refusal.status not in RETRYABLE_STATUSES:
                    raise
                error = refusal
            self._pause(error)

    def _one_connection(self) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        request = Request("GET", f"/jobs/{self._job_id}/events", headers=headers, read_seconds=SILENCE_SECONDS)
        parser = EventParser()
        with self._transport.stream(request) as response:
            self._connected_at = time.monotonic()
            self._nothing_more = response.status_code == httpx.codes.NO_CONTENT
            for piece in response.iter_bytes():
                for event in parser.feed(piece):
                    if event.id is not None:
                        self._last_id, self._failures = event.id, 0
                    yield event

    def _is_over(self) -> bool:
        """Whether a stream that ended without the terminal event has none to bring: it came before the `after` id.

        Not at the first look: the job may have become final after that stream was cut off.
        """
        if self._nothing_more:
            return True
        job = self._transport.json(Request("GET", f"/jobs/{self._job_id}"))
        self._vain = self._vain + 1 if job.get("state") in FINAL_STATES else 0
        return self._vain >= VAIN_STREAMS

    def _pause(self, error: ApiError | ApiUnreachableError) -> None:
        self._failures += 1
        pause_asked = error.retry_after_seconds if isinstance(error, ApiError) else None
        pause = self._transport.policy.delay_seconds(self._failures, pause_asked)
        if time.monotonic() - self._connected_at + pause > self._patience_seconds:
            raise error
        self._transport.sleep(pause)
