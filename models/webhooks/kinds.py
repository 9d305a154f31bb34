"""What a webhook may tell of: the vocabulary of `type` in its body."""

from enum import StrEnum


class WebhookEvent(StrEnum):
    """A transition that a client may hear of. The values are kinds of `models.events`."""

    RUNNING = "job.running"
    """Its first attempt began; later ones are not told of."""
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"


FINAL_EVENTS: tuple[WebhookEvent, ...] = (
    WebhookEvent.SUCCEEDED,
    WebhookEvent.FAILED,
    WebhookEvent.CANCELED,
    WebhookEvent.EXPIRED,
)
"""What an endpoint hears of unless it says otherwise: how a job ended, once."""
KINDS: frozenset[str] = frozenset(WebhookEvent)
TEST_KIND = "webhook.test"
"""Sent on request, to see that a target works; told of no job."""
