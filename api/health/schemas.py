"""What the health endpoints answer."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field


class Readiness(StrEnum):
    """Whether requests can be served."""

    READY = "ready"
    DEGRADED = "degraded"
    """Redis is away: jobs are accepted and start a few seconds later."""
    UNREADY = "unready"


class LiveView(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ServiceView(BaseModel):
    """One service behind the API."""

    state: Literal["up", "down"]
    detail: str | None = Field(None, description="The kind of error; never an address.")


class ReadyView(BaseModel):
    """Whether requests can be served, and by whom jobs would be."""

    status: Readiness
    services: dict[str, ServiceView]
    workers: dict[str, int] | None = Field(description="Live workers of each pool; null while Postgres is away.")
