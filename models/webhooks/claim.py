"""Which deliveries go out next: claimed under a lease, fair between clients and between the endpoints of one.

An endpoint has a few tries in flight at most, and only one while it fails; a client has a part of the room, so that
slow, dead or flooded targets never take that of the others. No clock but Postgres' is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Text,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from models.base import seconds
from models.webhooks.delivery import FAILED, DeliveryHold
from models.webhooks.rows import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookMessage

LOST = "lost"
"""In the log: the dispatcher died, hung or was cut off; the target may have got it or not."""


@dataclass(frozen=True)
class ClaimedDelivery:
    """One try to make, and the hold on it."""

    hold: DeliveryHold
    url: str
    secrets: tuple[str, ...]
    """The current one first; the one before it while a rotation lasts."""
    message_id: UUID
    kind: str
    payload: str
    """JSON as Postgres writes it: the same text for every try."""
    claimed_at: datetime
    """By Postgres' clock."""


@dataclass(frozen=True)
class Shares:
    """Tries in flight at most, whoever claimed them."""

    per_endpoint: int
    per_client: int


def claim_deliveries(
    session: Session, *, owner: str, limit: int, shares: Shares, lease_seconds: float
) -> list[ClaimedDelivery]:
    """Take up to `limit` due deliveries, in turns between clients and between their endpoints.

    The endpoints are locked first and looked at in a second statement, whose snapshot sees what other dispatchers have
    committed; an endpoint that one of them is claiming for just now is left to it.
    """
    endpoints = _endpoints_with_room(session, limit, shares)
    if not endpoints:
        return []
    chosen = _chosen(endpoints, limit, shares).cte("chosen")
    rows = session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == chosen.c.id,
            WebhookDelivery.state == text("'pending'"),
            WebhookEndpoint.id == WebhookDelivery.endpoint_id,
            WebhookMessage.id == WebhookDelivery.message_id,
        )
        .values(
            tries=WebhookDelivery.tries + 1,
            lease_owner=owner,
            lease_expires_at=func.now() + seconds(lease_seconds),
        )
        .returning(
            WebhookDelivery.id,
            WebhookDelivery.endpoint_id,
            WebhookDelivery.tries,
            chosen.c.lease_expires_at.label("lost_at"),
            WebhookEndpoint.url,
            WebhookEndpoint.secret,
            case((WebhookEndpoint.previous_secret_expires_at > func.now(), WebhookEndpoint.previous_secret)).label(
                "previous_secret"
            ),
            WebhookMessage.id.label("message_id"),
            WebhookMessage.kind,
            cast(WebhookMessage.payload, Text).label("payload"),
            func.now().label("claimed_at"),
        )
        .execution_options(synchronize_session=False)
    ).all()
    _log_lost(session, [(row.id, row.tries - 1, row.lost_at) for row in rows], lease_seconds)
    return [
        ClaimedDelivery(
            hold=DeliveryHold(row.id, row.endpoint_id, row.tries, owner),
            url=row.url,
            secrets=tuple(filter(None, (row.secret, row.previous_secret))),
            message_id=row.message_id,
            kind=row.kind,
            payload=row.payload,
            claimed_at=row.claimed_at,
        )
        for row in rows
    ]


def fail_disabled(session: Session, *, limit: int, lease_seconds: float) -> int:
    """Pending → failed for endpoints that were disabled, whoever did that. What is in flight ends by itself."""
    pending = _endpoints_with_pending()
    disabled = session.scalars(
        select(WebhookEndpoint.id)
        .join(pending, pending.c.endpoint_id == WebhookEndpoint.id)
        .where(~WebhookEndpoint.enabled)
    ).all()
    if not disabled:
        return 0
    waiting = (
        select(WebhookDelivery.id, WebhookDelivery.lease_expires_at)
        .where(
            WebhookDelivery.endpoint_id.in_(disabled),
            WebhookDelivery.state == text("'pending'"),
            _not_in_flight(),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    rows = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == waiting.c.id, WebhookDelivery.state == text("'pending'"))
        .values(FAILED)
        .returning(WebhookDelivery.id, WebhookDelivery.tries, waiting.c.lease_expires_at.label("lost_at"))
        .execution_options(synchronize_session=False)
    ).all()
    _log_lost(session, [(row.id, row.tries, row.lost_at) for row in rows], lease_seconds)
    return len(rows)


def _endpoints_with_pending() -> CTE:
    """Endpoints that have pending deliveries, by hops over the index: a flooded one costs as little as any other."""
    first = (
        select(WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.state == text("'pending'"))
        .order_by(WebhookDelivery.endpoint_id)
        .limit(1)
    )
    hops = select(first.scalar_subquery().label("endpoint_id")).cte("hops", recursive=True)
    onward = (
        select(WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.state == text("'pending'"), WebhookDelivery.endpoint_id > hops.c.endpoint_id)
        .order_by(WebhookDelivery.endpoint_id)
        .limit(1)
        .correlate(hops)
    )
    return hops.union_all(select(onward.scalar_subquery()).where(hops.c.endpoint_id.is_not(None)))


def _not_in_flight() -> ColumnElement[bool]:
    return WebhookDelivery.lease_expires_at.is_(None) | (WebhookDelivery.lease_expires_at <= func.now())


def _due() -> tuple[ColumnElement[bool], ...]:
    return (
        WebhookDelivery.endpoint_id == WebhookEndpoint.id,
        WebhookDelivery.state == text("'pending'"),
        WebhookDelivery.available_at <= func.now(),
        _not_in_flight(),
    )


def _flying() -> CTE:
    """How many tries are in flight, for each endpoint that has any. A handful of rows, by their own index."""
    return (
        select(WebhookDelivery.endpoint_id, WebhookEndpoint.client_id, func.count().label("tries"))
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.lease_owner.is_not(None), WebhookDelivery.lease_expires_at > func.now())
        .group_by(WebhookDelivery.endpoint_id, WebhookEndpoint.client_id)
        .cte("flying")
    )


def _of_endpoint(flying: CTE) -> ColumnElement[int]:
    tries = select(func.coalesce(func.sum(flying.c.tries), 0)).where(flying.c.endpoint_id == WebhookEndpoint.id)
    return cast(tries.correlate(WebhookEndpoint).scalar_subquery(), Integer)


def _of_client(flying: CTE) -> ColumnElement[int]:
    tries = select(func.coalesce(func.sum(flying.c.tries), 0)).where(flying.c.client_id == WebhookEndpoint.client_id)
    return cast(tries.correlate(WebhookEndpoint).scalar_subquery(), Integer)


def _room(shares: Shares) -> ColumnElement[int]:
    """One that fails is asked with one message at a time, until it takes one."""
    return case((WebhookEndpoint.failing_since.is_(None), literal(shares.per_endpoint)), else_=literal(1))


def _endpoints_with_room(session: Session, limit: int, shares: Shares) -> Sequence[UUID]:
    """Lock the endpoints to claim for, in turns between clients; those with little in flight first."""
    pending, flying = _endpoints_with_pending(), _flying()
    oldest = select(WebhookDelivery.available_at).where(*_due()).order_by(WebhookDelivery.available_at).limit(1)
    waits_since, tries = oldest.scalar_subquery(), _of_endpoint(flying)
    place = func.row_number().over(partition_by=WebhookEndpoint.client_id, order_by=(tries, waits_since))
    found = (
        select(WebhookEndpoint.id, waits_since.label("since"), (_of_client(flying) + place).label("turn"))
        .join(pending, pending.c.endpoint_id == WebhookEndpoint.id)
        .where(WebhookEndpoint.enabled, waits_since.is_not(None), tries < _room(shares))
        .cte("found")
    )
    # FOR NO KEY UPDATE: a publish refers to the endpoint's key and must never wait for a dispatcher.
    return session.scalars(
        select(WebhookEndpoint.id)
        .join(found, found.c.id == WebhookEndpoint.id)
        .where(found.c.turn <= shares.per_client)
        .order_by(found.c.turn, found.c.since)
        .limit(limit)
        .with_for_update(of=WebhookEndpoint, skip_locked=True, key_share=True)
    ).all()


def _chosen(endpoints: Sequence[UUID], limit: int, shares: Shares) -> Select[UUID, datetime]:
    """Their oldest due deliveries, in turns: between clients, and between the endpoints of one."""
    flying = _flying()
    tries = _of_endpoint(flying)
    due = (
        select(WebhookDelivery.id, WebhookDelivery.available_at, WebhookDelivery.lease_expires_at)
        .where(*_due())
        .order_by(WebhookDelivery.available_at)
        .limit(func.greatest(_room(shares) - tries, 0))
        .with_for_update(of=WebhookDelivery, skip_locked=True)
        .lateral("due")
    )
    place = func.row_number().over(partition_by=WebhookEndpoint.id, order_by=due.c.available_at)
    of_endpoint = (
        select(
            due.c.id,
            due.c.available_at,
            due.c.lease_expires_at,
            WebhookEndpoint.client_id,
            _of_client(flying).label("client_tries"),
            (tries + place).label("turn"),
        )
        .select_from(WebhookEndpoint)
        .join(due, text("true"))
        .where(WebhookEndpoint.id.in_(endpoints), WebhookEndpoint.enabled)
        .subquery("of_endpoint")
    )
    order = (of_endpoint.c.turn, of_endpoint.c.available_at)
    client_place = func.row_number().over(partition_by=of_endpoint.c.client_id, order_by=order)
    of_client = select(of_endpoint, (of_endpoint.c.client_tries + client_place).label("client_turn")).subquery(
        "of_client"
    )
    return (
        select(of_client.c.id, of_client.c.lease_expires_at)
        .where(of_client.c.client_turn <= shares.per_client)
        .order_by(of_client.c.client_turn, of_client.c.available_at)
        .limit(limit)
    )


def _log_lost(session: Session, tries: list[tuple[UUID, int, datetime | None]], lease_seconds: float) -> None:
    """A row of the log for each try whose lease ran out."""
    lease = timedelta(seconds=lease_seconds)
    lost = [
        {"delivery_id": delivery, "number": number, "started_at": end - lease, "seconds": lease_seconds, "error": LOST}
        for delivery, number, end in tries
        if end is not None
    ]
    if lost:
        session.execute(insert(WebhookAttempt), lost)
