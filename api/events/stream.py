"""The frames of a job's event stream (WHATWG HTML, "Server-sent events").

Stored events carry their id, so that a client that reconnects misses none; progress carries none, since it is lossy.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.events.schemas import EventData
from api.hub import Watch
from api.services import Services
from models.events import JobEvent, since
from models.progress import Progress
from models.states import FINAL_STATES

TERMINAL_KINDS: frozenset[str] = frozenset(f"job.{state.value}" for state in FINAL_STATES)
RETRY_MILLISECONDS = 2000
LOOK_SECONDS = 1.0
"""How often a quiet stream looks whether its client is still there."""
BATCH = 200

log = structlog.stdlib.get_logger("safelight.api.events")


def frames(
    services: Services, job_id: UUID, after_id: int, *, goes_on: Callable[[], bool], still_valid: Callable[[], bool]
) -> Iterator[str]:
    """Every event after `after_id`, then what happens, until the job ends or `goes_on` turns false."""
    with services.hub.watch(job_id, progress=True) as watch:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        try:
            yield from _follow(services, watch, after_id, goes_on, still_valid)
        except SQLAlchemyError as error:
            # The client comes back by itself, with the id of the last event it saw.
            log.warning("events.interrupted", error=type(error).__name__)


def _follow(
    services: Services, watch: Watch, after_id: int, goes_on: Callable[[], bool], still_valid: Callable[[], bool]
) -> Iterator[str]:
    heartbeat = services.settings.sse_heartbeat_seconds
    spoke_at = time.monotonic()
    look = True
    while goes_on():
        events = _read(services, watch.job_id, after_id) if look else []
        for event in events:
            yield event_frame(event)
            after_id, spoke_at = event.id, time.monotonic()
            if event.kind in TERMINAL_KINDS:
                return
        if len(events) == BATCH:
            continue
        quiet = time.monotonic() - spoke_at
        if quiet >= heartbeat:
            if not still_valid():
                return
            yield ": still here\n\n"
            spoke_at, quiet = time.monotonic(), 0.0
        wake = watch.wait(min(LOOK_SECONDS, heartbeat - quiet))
        if wake.stopping:
            return
        look = wake.events
        if wake.progress is not None:
            yield progress_frame(wake.progress)
            spoke_at = time.monotonic()


def has_ended_before(services: Services, job_id: UUID, after_id: int) -> bool:
    """Whether the terminal event is not after `after_id`: there is nothing more to come."""
    rest = _read(services, job_id, after_id)
    if rest:
        return False
    seen = _read(services, job_id, max(after_id - 1, 0))
    return bool(seen) and seen[-1].kind in TERMINAL_KINDS


def event_frame(event: JobEvent) -> str:
    """A stored event."""
    data = EventData(
        id=event.id, job_id=event.job_id, kind=event.kind, created_at=event.created_at, data=event.data
    ).model_dump_json()
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"


def progress_frame(progress: Progress) -> str:
    """Step progress: without an id, so that a reconnect goes on after the last stored event."""
    return f"event: progress\ndata: {json.dumps(asdict(progress))}\n\n"


def _read(services: Services, job_id: UUID, after_id: int) -> list[JobEvent]:
    with services.reader() as session:
        return since(session, job_id, after_id, BATCH)
