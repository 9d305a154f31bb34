"""What the client endpoints read and answer."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.reading import NO_NUL, WholeNumber
from models.jobs.prepare import MAX_PRIORITY

MAX_WEIGHT = 1000.0
MAX_LIVE_JOBS = 10_000_000
Weight = Annotated[
    float, Field(gt=0, le=MAX_WEIGHT, description="Share of the workers beside other clients that wait; 1 is plain.")
]
LiveJobs = Annotated[int, Field(ge=0, le=MAX_LIVE_JOBS, description="Waiting and running jobs that it may hold.")]
Priority = Annotated[
    int, Field(ge=0, le=MAX_PRIORITY, description="The highest priority that its jobs may ask for; below 0 always.")
]


Threshold = Annotated[
    float, Field(ge=0, le=1, description="Pictures whose safety score reaches it are withheld; null lets all pass.")
]
Words = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)], ...],
    Field(max_length=10_000, description="Prompts with one of these are refused; `word*` is any that begins so."),
]


class ClientChanges(BaseModel):
    """What shall be otherwise; what is absent stays as it is, and so does null but for safety_threshold."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [{"weight": 2.0, "max_live_jobs": 500, "max_priority": 10, "safety_threshold": 0.8}]
        },
    )

    weight: Weight | None = None
    max_live_jobs: LiveJobs | None = None
    max_priority: Priority | None = None
    safety_threshold: Threshold | None = None
    blocked_words: Words | None = None


class ClientPath(BaseModel):
    """Which client."""

    name: str


class ClientQuery(BaseModel):
    """Which clients."""

    model_config = ConfigDict(extra="forbid")

    limit: WholeNumber = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=100, description="From the page before.")


class ClientView(BaseModel):
    """A client."""

    id: UUID
    name: str
    weight: float
    max_live_jobs: int
    max_priority: int
    safety_threshold: float | None
    blocked_words: list[str] | None
    live_jobs: int
    created_at: datetime


class ClientPage(BaseModel):
    """Clients by name."""

    items: list[ClientView]
    cursor: str | None = Field(description="For the next page; null at the end.")
