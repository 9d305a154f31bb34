"""What the health endpoints answer."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from models.invariants import Severity
from models.invariants.table import MOST
from models.states import Pool


class Readiness(StrEnum):
    """Whether requests can be served."""

    READY = "ready"
    DEGRADED = "degraded"
    """Requests are served, and something needs looking at: Redis is away, or an invariant is broken."""
    UNREADY = "unready"


class LiveView(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ServiceView(BaseModel):
    """One service behind the API."""

    state: Literal["up", "down"]
    detail: str | None = Field(None, description="The kind of error; never an address.")


class CheckState(StrEnum):
    """Whether a promise holds."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


class ReadyView(BaseModel):
    """Whether requests can be served, and by whom jobs would be."""

    status: Readiness
    services: dict[str, ServiceView]
    workers: dict[str, int] | None = Field(description="Live workers of each pool; null while Postgres is away.")
    checks: dict[str, CheckState] | None = Field(
        description="The invariant monitor, some seconds old at most; null while Postgres is away. Operators see more "
        "at `/v1/health/invariants`."
    )


class InvariantView(BaseModel):
    """One check of the invariant monitor."""

    name: str
    severity: Severity
    state: CheckState
    promise: str
    advice: str = Field(description="What to do when it does not hold.")
    count: int = Field(description=f"Of how many things it does not hold; not counted beyond {MOST}.")
    examples: tuple[str, ...] = Field(description="Ids or names of the first of them.")
    seconds: float | None = Field(description="How long the worst of them has been so, where that is known.")


class FiguresView(BaseModel):
    """Gauges beside the checks; ages in seconds, null where there is nothing."""

    queue_oldest: dict[Pool, float | None] = Field(description="Age of the oldest claimable job of each pool.")
    webhooks_due: int
    webhooks_oldest: float | None
    sweep_age: float | None = Field(description="Since the last sign of life of a sweeper.")
    sweepers: int
    dispatchers: int


class InvariantsView(BaseModel):
    """What the invariant monitor found."""

    examined_at: datetime
    broken: bool = Field(description="Whether a promise does not hold; warnings do not count.")
    checks: list[InvariantView]
    figures: FiguresView
