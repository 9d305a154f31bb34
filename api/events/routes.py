"""GET /v1/jobs/{id}/events."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Response, stream_with_context

from api.auth import Access, still_valid
from api.events.schemas import EventHeaders
from api.events.stream import frames, has_ended_before
from api.jobs.access import visible_job
from api.jobs.schemas import JobPath
from api.room import Room
from api.services import get_services
from api.waiting import client_is_gone
from models.errors import UnavailableError
from models.states import FINAL_STATES

RETRY_SECONDS = 5
MAX_EVENT_ID = 2**63 - 1
STREAM: dict[str, Any] = {
    "description": "The stream. Events are `job.<state>` and `job.cancel_requested` with an id, `progress` without.",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event.",
                "properties": {
                    "id": {"type": "string", "description": "For `Last-Event-ID`; `progress` has none."},
                    "event": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
                "required": ["event", "data"],
            }
        }
    },
}
NOTHING_MORE = {"description": "The job has ended and its last event is known: do not connect again."}

room = Room("events", "What happens to a job, as it happens.")


@room.endpoint(
    "get", "/jobs/<uuid:job_id>/events", access=Access.READ, answers={200: STREAM, 204: NOTHING_MORE}, problems=(503,)
)
def stream_events(path: JobPath, header: EventHeaders) -> Response:
    """Stream a job's events until it ends."""
    services = get_services()
    with services.reader() as session:
        state = visible_job(session, path.job_id).state
    after_id = _event_id(header.last_event_id)
    if after_id and state in FINAL_STATES and has_ended_before(services, path.job_id, after_id):
        return Response(status=HTTPStatus.NO_CONTENT)
    slot = services.streams.take()
    if slot is None:
        raise UnavailableError(
            f"This server holds {services.streams.capacity} streams, as many as it may; poll the job instead.",
            retry_after_seconds=RETRY_SECONDS,
        )
    try:
        text: Iterator[str] = stream_with_context(
            frames(
                services,
                path.job_id,
                after_id,
                goes_on=lambda: not client_is_gone(),
                still_valid=still_valid,
            )
        )
        response = Response(text, mimetype="text/event-stream")
    except BaseException:
        slot.release()
        raise
    # Called when the response is closed, also one whose first frame was never asked for.
    response.call_on_close(slot.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _event_id(text: str | None) -> int:
    """An id that is not ours starts the stream from the beginning, as the standard's empty one does."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_EVENT_ID)):
        return 0
    return min(int(text), MAX_EVENT_ID)
