"""The delivery log: reading it, and forgetting what is old. What writes it is `models.webhooks.delivery`."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.orm import Session

from models.base import seconds
from models.webhooks.rows import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookMessage

BATCH_ROWS = 500
SECONDS_PER_DAY = 86_400.0
APART = {"synchronize_session": False}


@dataclass(frozen=True)
class LoggedDelivery:
    """A delivery with what it carries and every try."""

    delivery: WebhookDelivery
    kind: str
    job_id: UUID | None
    attempts: tuple[WebhookAttempt, ...]


def list_deliveries(
    session: Session,
    endpoint_id: UUID,
    *,
    limit: int,
    state: DeliveryState | None = None,
    before: UUID | None = None,
    only: UUID | None = None,
) -> list[LoggedDelivery]:
    """An endpoint's deliveries, newest first, older than `before`; or `only` that one."""
    query = (
        select(WebhookDelivery, WebhookMessage.kind, WebhookMessage.job_id)
        .join(WebhookMessage, WebhookMessage.id == WebhookDelivery.message_id)
        .where(WebhookDelivery.endpoint_id == endpoint_id)
        .order_by(WebhookDelivery.id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if before is not None:
        query = query.where(WebhookDelivery.id < before)
    if only is not None:
        query = query.where(WebhookDelivery.id == only)
    rows = session.execute(query).all()
    attempts = _attempts(session, [delivery.id for delivery, _, _ in rows])
    return [
        LoggedDelivery(delivery, kind, job_id, tuple(attempts.get(delivery.id, ()))) for delivery, kind, job_id in rows
    ]


def forget_old(session: Session, days: float) -> int:
    """Messages older than this, with their deliveries and tries; not while one is still on its way."""
    # The id carries its time, so its own index finds the old ones. Wrapped, so that it is computed once.
    border = select(func.uuidv7(seconds(-days * SECONDS_PER_DAY))).scalar_subquery()
    on_its_way = exists().where(
        WebhookDelivery.message_id == WebhookMessage.id, WebhookDelivery.state == text("'pending'")
    )
    old = (
        select(WebhookMessage.id)
        .where(WebhookMessage.id < border, ~on_its_way)
        .order_by(WebhookMessage.id)
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True)
    )
    # Asked for first: as a subquery, they would be joined to a read through the whole table.
    ids = session.scalars(old).all()
    session.execute(delete(WebhookMessage).where(WebhookMessage.id.in_(ids)), execution_options=APART)
    return len(ids)


def forget_deliveries(session: Session, endpoint_id: UUID) -> int:
    """Some deliveries of an endpoint that is about to be deleted: a long log goes in several transactions."""
    some = select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id == endpoint_id).limit(BATCH_ROWS)
    ids = session.scalars(some.with_for_update(skip_locked=True)).all()
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)), execution_options=APART)
    return len(ids)


def _attempts(session: Session, delivery_ids: Sequence[UUID]) -> dict[UUID, list[WebhookAttempt]]:
    found: dict[UUID, list[WebhookAttempt]] = {}
    if not delivery_ids:
        return found
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(delivery_ids))
    for attempt in session.scalars(query.order_by(WebhookAttempt.delivery_id, WebhookAttempt.number)):
        found.setdefault(attempt.delivery_id, []).append(attempt)
    return found
