"""Rows of webhooks as the JSON of the API, and finding one for a request."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy.orm import Session

from api.auth import may_act_for, visible_client
from api.webhooks.schemas import DeliveryAttempt, DeliveryView, NewWebhookView, WebhookView
from models.errors import ForbiddenError, NotFoundError
from models.webhooks import DeliveryState, WebhookEndpoint
from models.webhooks.endpoints import get_endpoint
from models.webhooks.kinds import WebhookEvent
from models.webhooks.log import LoggedDelivery


def visible_endpoint(session: Session, webhook_id: UUID) -> WebhookEndpoint:
    """The endpoint.

    Raises:
        NotFoundError: there is none, or it is another client's.
    """
    found = get_endpoint(session, webhook_id, visible_client())
    if found is None:
        raise NotFoundError.of("webhook", webhook_id)
    return found


def changeable_endpoint(session: Session, webhook_id: UUID) -> WebhookEndpoint:
    """The endpoint, if this key may change it and see its secret.

    Raises:
        NotFoundError, ForbiddenError: the second for a viewer of another client's webhook.
    """
    found = visible_endpoint(session, webhook_id)
    if not may_act_for(found.client_id):
        raise ForbiddenError("Only operators and admins change the webhooks of other clients.")
    return found


def webhook_view(row: WebhookEndpoint) -> WebhookView:
    """An endpoint without its secret."""
    return WebhookView.model_construct(**_fields(row))


def new_webhook_view(row: WebhookEndpoint) -> NewWebhookView:
    """An endpoint with its secret."""
    return NewWebhookView.model_construct(**_fields(row), secret=row.secret)


def delivery_view(logged: LoggedDelivery) -> DeliveryView:
    """A delivery with every try."""
    row = logged.delivery
    return DeliveryView.model_construct(
        id=row.id,
        message_id=row.message_id,
        kind=logged.kind,
        job_id=logged.job_id,
        state=row.state,
        tries=row.tries,
        next_try_at=row.available_at if row.state is DeliveryState.PENDING else None,
        created_at=row.created_at,
        finished_at=row.finished_at,
        attempts=[DeliveryAttempt.model_validate(attempt, from_attributes=True) for attempt in logged.attempts],
    )


def _fields(row: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": row.id,
        "client_id": row.client_id,
        "url": row.url if may_act_for(row.client_id) else _without_query(row.url),
        "scope": row.scope,
        "events": [WebhookEvent(event) for event in row.events],
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "failing_since": row.failing_since,
        "previous_secret_expires_at": row.previous_secret_expires_at,
        "created_at": row.created_at,
    }


def _without_query(url: str) -> str:
    """Many targets carry a token there."""
    return urlunsplit(urlsplit(url)._replace(query=""))
