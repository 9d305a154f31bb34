"""Endpoints: one verb for each thing that a client does with its own. Each runs in the caller's transaction."""

import base64
import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import column, delete, func, select, table, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from models.base import seconds
from models.errors import ConflictError
from models.webhooks.kinds import FINAL_EVENTS
from models.webhooks.rows import HEARS_ALL, IS_NAMED, EndpointScope, WebhookEndpoint

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105  # Standard Webhooks' prefix, not a secret
SECONDS_PER_HOUR = 3600.0
ASKED = "asked"
"""`disabled_reason` of an endpoint that its client or an operator switched off."""
MAX_ENDPOINTS: dict[EndpointScope, int] = {EndpointScope.ALL: 20, EndpointScope.NAMED: 200}
"""Of one client. Those that jobs name are one for each URL: what differs between jobs belongs into their `tag`."""
_INDEX = {EndpointScope.ALL: HEARS_ALL, EndpointScope.NAMED: IS_NAMED}
_CLIENTS = table("clients", column("id"))
"""The room of clients is above this one."""


class EndpointQuotaError(ConflictError):
    """The client has as many endpoints as it may."""

    code = "too_many_webhooks"
    title = "Too many webhooks"


def make_secret() -> str:
    """A signing secret, in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def create_endpoint(
    session: Session, client_id: UUID, url: str, events: Sequence[str] = FINAL_EVENTS
) -> WebhookEndpoint:
    """An endpoint that hears of every job of its client. The URL has passed `check_url`.

    Raises:
        ConflictError: there is one for this URL, or there are too many.
    """
    made = _insert(session, client_id, url, EndpointScope.ALL, events)
    if made is None:
        raise ConflictError("There is a webhook for this URL already; change that one.")
    return made


def find_named(session: Session, client_id: UUID, url: str) -> UUID | None:
    """The endpoint that the client's jobs name by this URL, if there is one."""
    named = (WebhookEndpoint.client_id == client_id, WebhookEndpoint.url == url, IS_NAMED)
    return session.scalars(select(WebhookEndpoint.id).where(*named)).one_or_none()


def get_or_create_named(session: Session, client_id: UUID, url: str) -> UUID:
    """The endpoint that the client's jobs name by this URL, which has passed `check_url`.

    Raises:
        EndpointQuotaError: there are too many.
    """
    known = find_named(session, client_id, url)
    if known is not None:
        return known
    made = _insert(session, client_id, url, EndpointScope.NAMED, FINAL_EVENTS)
    if made is not None:
        return made.id
    # Somebody else made it since; if it is gone again by now, the caller's request is as old as that.
    again = find_named(session, client_id, url)
    if again is None:
        raise ConflictError("This webhook is being deleted; try again.")
    return again


def change_endpoint(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> None:
    """Change what is given. Enabling forgets how long it had been failing; a new URL starts afresh."""
    values: dict[str, Any] = {}
    if url is not None and url != endpoint.url:
        values |= {"url": url, "failing_since": None}
    if events is not None:
        values["events"] = [*dict.fromkeys(map(str, events))]
    if enabled is True:
        values |= {"enabled": True, "disabled_reason": None, "failing_since": None}
    elif enabled is False:
        values |= {"enabled": False, "disabled_reason": func.coalesce(WebhookEndpoint.disabled_reason, ASKED)}
    if values:
        _update(session, endpoint, values)


def rotate_secret(session: Session, endpoint: WebhookEndpoint, hours: float) -> None:
    """A new secret; the old one signs as well for `hours`. One that was still ending ends now."""
    values = {
        "secret": make_secret(),
        "previous_secret": WebhookEndpoint.secret,
        "previous_secret_expires_at": func.now() + seconds(hours * SECONDS_PER_HOUR),
    }
    _update(session, endpoint, values)


def delete_endpoint(session: Session, endpoint_id: UUID) -> None:
    """Forget it. It was disabled and its log deleted before (`models.webhooks.log.forget_deliveries`)."""
    session.execute(
        delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).execution_options(synchronize_session=False)
    )


def get_endpoint(session: Session, endpoint_id: UUID, client_id: UUID | None) -> WebhookEndpoint | None:
    """An endpoint that this client may see; None sees every client's."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
    if client_id is not None:
        query = query.where(WebhookEndpoint.client_id == client_id)
    return session.scalars(query).one_or_none()


def list_endpoints(
    session: Session, client_id: UUID | None, *, limit: int, before: UUID | None = None
) -> list[WebhookEndpoint]:
    """Endpoints, newest first, older than `before`."""
    query = select(WebhookEndpoint).order_by(WebhookEndpoint.id.desc()).limit(limit)
    if client_id is not None:
        query = query.where(WebhookEndpoint.client_id == client_id)
    if before is not None:
        query = query.where(WebhookEndpoint.id < before)
    return list(session.scalars(query))


def _update(session: Session, endpoint: WebhookEndpoint, values: dict[str, Any]) -> None:
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint.id)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    session.refresh(endpoint)


def _insert(
    session: Session, client_id: UUID, url: str, scope: EndpointScope, events: Sequence[str]
) -> WebhookEndpoint | None:
    """The new row; None when another has this URL and scope."""
    # The client's row in the order of every verb: two that count at once see each other's.
    session.execute(select(_CLIENTS.c.id).where(_CLIENTS.c.id == client_id).with_for_update(key_share=True))
    counted = select(func.count()).where(WebhookEndpoint.client_id == client_id, _INDEX[scope])
    if (session.scalar(counted) or 0) >= MAX_ENDPOINTS[scope]:
        raise EndpointQuotaError(f"A client may have {MAX_ENDPOINTS[scope]} webhooks of this kind; delete one.")
    wanted = [*dict.fromkeys(map(str, events))]
    return session.scalars(
        upsert(WebhookEndpoint)
        .values(client_id=client_id, url=url, scope=scope, events=wanted, secret=make_secret())
        .on_conflict_do_nothing(index_elements=["client_id", "url"], index_where=_INDEX[scope])
        .returning(WebhookEndpoint)
    ).one_or_none()
