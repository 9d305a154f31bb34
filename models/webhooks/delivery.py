"""How a try of a delivery ends: delivered, again later, failed for good, or its target is gone.

Each verb stands behind one guard and writes its row of the log, in the caller's transaction. `tries` is the fencing
token: who holds an older one changes nothing. The endpoint's row is locked before the delivery's, as a deletion of the
endpoint does it.
"""

import random
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, select, text, update
from sqlalchemy.orm import Session

from models.base import seconds
from models.settings import Settings
from models.webhooks.rows import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint

GONE = "gone"
FAILING = "failing"
"""Why an endpoint was disabled: see `WebhookEndpoint.disabled_reason`."""
JITTER = 0.1
"""Part of a pause, up or down: what failed together does not come back together."""
MAX_RETRY_AFTER_SECONDS = 86_400.0
"""No target may push its own deliveries further than this at once."""
DAY_SECONDS = 86_400.0
NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None}
FAILED: dict[str, Any] = {"state": DeliveryState.FAILED, "finished_at": func.now(), **NO_LEASE}


@dataclass(frozen=True)
class DeliveryHold:
    """What a claim gave a dispatcher: the right to make this try, and to write how it ended."""

    delivery_id: UUID
    endpoint_id: UUID
    tries: int
    owner: str


@dataclass(frozen=True)
class Tried:
    """What one try came to."""

    seconds: float
    status_code: int | None = None
    error: str | None = None
    """None if the target took it; else a short stable word."""
    retry_after_seconds: float | None = None
    """What the target asked for."""


class Settled(StrEnum):
    """What became of a delivery."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    FAILED = "failed"
    DISABLED = "disabled"
    """It failed, and its endpoint with it: nothing more goes there."""
    FENCED = "fenced"
    """The try is no longer ours, or its end is written already. Nothing was changed."""


@dataclass(frozen=True)
class _Standing:
    """Both rows as they are, locked."""

    enabled: bool
    failing_since: datetime | None
    failing_for_days: bool
    place: int
    """Of this try in the retry schedule, from 1."""


def delivered(session: Session, hold: DeliveryHold, tried: Tried) -> Settled:
    """Pending → delivered. The endpoint is well."""
    standing = _locked(session, hold)
    if standing is None:
        return Settled.FENCED
    _end_try(session, hold, tried, {"state": DeliveryState.DELIVERED, "finished_at": func.now()})
    if standing.failing_since is not None:
        _mark_failing(session, hold.endpoint_id, None)
    return Settled.DELIVERED


def retry_or_fail(
    session: Session, hold: DeliveryHold, tried: Tried, settings: Settings, *, final: bool = False
) -> Settled:
    """Pending → pending again after the schedule's next pause; failed when the schedule is over, or if this is `final`.

    An endpoint that has failed for `webhook_disable_days`, and lately for a whole schedule, is disabled.
    """
    standing = _locked(session, hold, settings.webhook_disable_days)
    if standing is None:
        return Settled.FENCED
    over = final or not standing.enabled or standing.place > len(settings.webhook_retry_seconds)
    disable = standing.enabled and standing.failing_for_days and _failed_lately(session, hold, settings)
    if over or disable:
        _end_try(session, hold, tried, FAILED)
    else:
        pause = _pause(settings.webhook_retry_seconds[standing.place - 1], tried)
        _end_try(session, hold, tried, {"available_at": func.now() + seconds(pause)})
    if disable:
        disable_endpoint(session, hold.endpoint_id, FAILING)
        return Settled.DISABLED
    if standing.failing_since is None:
        _mark_failing(session, hold.endpoint_id, func.now())
    return Settled.FAILED if over else Settled.RETRIED


def gone(session: Session, hold: DeliveryHold, tried: Tried) -> Settled:
    """The target answered 410: this delivery fails, and its endpoint is disabled."""
    if _locked(session, hold) is None:
        return Settled.FENCED
    _end_try(session, hold, tried, FAILED)
    disable_endpoint(session, hold.endpoint_id, GONE)
    return Settled.DISABLED


def disable_endpoint(session: Session, endpoint_id: UUID, reason: str) -> None:
    """Nothing goes there any more, and what waited has failed. Tries under way end by themselves."""
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.enabled)
        .values(enabled=False, disabled_reason=reason)
        .execution_options(synchronize_session=False)
    )
    waiting = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.state == text("'pending'"),
            WebhookDelivery.lease_owner.is_(None),
        )
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(waiting))
        .values(FAILED)
        .execution_options(synchronize_session=False)
    )


def _guard(hold: DeliveryHold) -> tuple[ColumnElement[bool], ...]:
    return (
        WebhookDelivery.id == hold.delivery_id,
        WebhookDelivery.tries == hold.tries,
        WebhookDelivery.lease_owner == hold.owner,
        WebhookDelivery.state == text("'pending'"),
    )


def _locked(session: Session, hold: DeliveryHold, disable_days: float = 0) -> _Standing | None:
    """Lock the endpoint, then the delivery behind the guard. None: the try is no longer ours."""
    # FOR NO KEY UPDATE: a publish refers to the endpoint's key and must never wait for a dispatcher.
    since = func.now() - seconds(disable_days * DAY_SECONDS)
    endpoint = session.execute(
        select(
            WebhookEndpoint.enabled,
            WebhookEndpoint.failing_since,
            func.coalesce(WebhookEndpoint.failing_since < since, False).label("failing_for_days"),
        )
        .where(WebhookEndpoint.id == hold.endpoint_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    place = session.scalars(
        select(WebhookDelivery.tries - WebhookDelivery.earlier_tries)
        .where(*_guard(hold))
        .with_for_update(key_share=True)
    ).one_or_none()
    if endpoint is None or place is None:
        return None
    return _Standing(endpoint.enabled, endpoint.failing_since, endpoint.failing_for_days, place)


def _end_try(session: Session, hold: DeliveryHold, tried: Tried, values: dict[str, Any]) -> None:
    session.execute(
        update(WebhookDelivery)
        .where(*_guard(hold))
        .values(values | NO_LEASE)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        insert(WebhookAttempt).values(
            delivery_id=hold.delivery_id,
            number=hold.tries,
            started_at=func.now() - seconds(tried.seconds),
            seconds=tried.seconds,
            status_code=tried.status_code,
            error=tried.error,
        )
    )


def _mark_failing(session: Session, endpoint_id: UUID, since: Any) -> None:
    """What it wants to hear is as before, so `changed_at` keeps its value."""
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .values(failing_since=since, changed_at=WebhookEndpoint.changed_at)
        .execution_options(synchronize_session=False)
    )


def _failed_lately(session: Session, hold: DeliveryHold, settings: Settings) -> bool:
    """Whether a whole schedule ended in vain in these days: one bad try a week is not failing for days."""
    since = func.now() - seconds(settings.webhook_disable_days * DAY_SECONDS)
    query = select(WebhookDelivery.id).where(
        WebhookDelivery.endpoint_id == hold.endpoint_id,
        WebhookDelivery.state == DeliveryState.FAILED,
        WebhookDelivery.finished_at > since,
    )
    return session.scalars(query.limit(1)).first() is not None


def _pause(scheduled_seconds: float, tried: Tried) -> float:
    asked = min(tried.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
    return max(scheduled_seconds * random.uniform(1 - JITTER, 1 + JITTER), asked)
