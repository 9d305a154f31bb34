"""What the stream reads, and the data of its events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class EventHeaders(BaseModel):
    """Where to go on."""

    last_event_id: str | None = Field(
        None, alias="Last-Event-ID", description="Events after this one; sent by browsers that reconnect."
    )


class EventData(BaseModel):
    """`data` of a stored event; `event` is its kind and `id` its id."""

    id: int
    job_id: UUID
    kind: str
    created_at: datetime
    data: dict[str, Any]
