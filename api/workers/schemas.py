"""What the worker and queue endpoints answer."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from models.states import Pool


class WorkerView(BaseModel):
    """One live worker."""

    name: str
    pool: Pool
    host: str
    pid: int
    device: str
    resident: list[str] = Field(description="Checkpoints it holds loaded.")
    info: dict[str, Any]
    started_at: datetime
    seen_at: datetime


class WorkerList(BaseModel):
    """The live workers."""

    items: list[WorkerView]


class QueueDepth(BaseModel):
    """One pool's queue."""

    pool: Pool
    depth: int = Field(description="Jobs that could be claimed now.")
    capped: bool = Field(description="There are at least that many; more were not counted.")
    live_workers: int


class QueueList(BaseModel):
    """The queues."""

    items: list[QueueDepth]
