"""What the webhook endpoints read and answer. A secret is in three answers: of its making, its rotation, its own."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.jobs.schemas import STRICT, WebhookEvents, WebhookUrl
from api.reading import WholeNumber
from models.webhooks import DeliveryState, EndpointScope
from models.webhooks.kinds import FINAL_EVENTS, WebhookEvent

HOOK = "https://example.com/hooks/safelight"


class WebhookRequest(BaseModel):
    """An endpoint that hears of every job of yours."""

    model_config = ConfigDict(
        **STRICT, json_schema_extra={"examples": [{"url": HOOK, "events": ["job.succeeded", "job.failed"]}]}
    )

    url: WebhookUrl
    events: WebhookEvents = FINAL_EVENTS


class WebhookChange(BaseModel):
    """What shall be otherwise; what is absent or null stays."""

    model_config = ConfigDict(
        **STRICT,
        openapi_extra={"required": False},  # type: ignore[typeddict-unknown-key]
        json_schema_extra={"examples": [{"events": ["job.failed"]}, {"enabled": True}]},
    )

    url: WebhookUrl | None = None
    events: WebhookEvents | None = None
    enabled: bool | None = Field(None, description="Off: what waits is not sent. On: it may fail for days again.")


class WebhookPath(BaseModel):
    """Which endpoint."""

    webhook_id: UUID


class DeliveryPath(WebhookPath):
    """Which delivery."""

    delivery_id: UUID


class WebhookQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid")

    limit: WholeNumber = Field(50, ge=1, le=200)
    cursor: UUID | None = Field(None, description="From the page before.")


class DeliveryQuery(WebhookQuery):
    """Which deliveries."""

    state: DeliveryState | None = None


# --- answers ---------------------------------------------------------------------------------------------------


class WebhookView(BaseModel):
    """An endpoint, without its secret."""

    id: UUID
    client_id: UUID
    url: str = Field(description="Without its query for those who may not change it.")
    scope: EndpointScope = Field(description="`all`: hears of every job; `named`: of those that name its URL.")
    events: list[WebhookEvent]
    enabled: bool
    disabled_reason: str | None = Field(description="`gone` (it answered 410), `failing` (for days) or `asked`.")
    failing_since: datetime | None
    previous_secret_expires_at: datetime | None = Field(description="After a rotation both secrets sign until then.")
    created_at: datetime


class NewWebhookView(WebhookView):
    """An endpoint that was just made or got a new secret."""

    secret: str = Field(description="`whsec_<base64>`, of Standard Webhooks: checks `webhook-signature`.")


class WebhookSecret(BaseModel):
    """What signs."""

    secret: str
    previous_secret: str | None = Field(description="Signs as well until `previous_secret_expires_at`.")
    previous_secret_expires_at: datetime | None


class WebhookPage(BaseModel):
    """Endpoints, newest first."""

    items: list[WebhookView]
    cursor: UUID | None = Field(description="For the next page; null at the end.")


class DeliveryAttempt(BaseModel):
    """One try."""

    number: int
    started_at: datetime
    seconds: float
    status_code: int | None
    error: str | None = Field(description="Why there is no status, or why it did not count.")


class DeliveryView(BaseModel):
    """One message on its way to an endpoint."""

    id: UUID
    message_id: UUID = Field(description="The same over every try and redelivery: `webhook-id` is made of it.")
    kind: str
    job_id: UUID | None = Field(description="Null for a test.")
    state: DeliveryState
    tries: int
    next_try_at: datetime | None = Field(description="Of a pending delivery.")
    created_at: datetime
    finished_at: datetime | None
    attempts: list[DeliveryAttempt]


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    items: list[DeliveryView]
    cursor: UUID | None = Field(description="For the next page; null at the end.")
