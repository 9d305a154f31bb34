"""The rows of webhooks: endpoints, messages (the outbox), deliveries (under a lease) and the log of their attempts."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UuidKey, enum_column

PENDING = text("state = 'pending'")
LEASED = text("lease_owner IS NOT NULL")
HEARS_ALL = text("scope = 'all'")
IS_NAMED = text("scope = 'named'")


class EndpointScope(StrEnum):
    """Which jobs of its client an endpoint hears of."""

    ALL = "all"
    NAMED = "named"
    """Those that name it in their `webhook`."""


class DeliveryState(StrEnum):
    """The life of a delivery: pending until a target took it, or until the schedule's end."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """The schedule ended, the target is gone (410), or its endpoint was disabled or is not allowed."""


class WebhookEndpoint(Base):
    """A target of one client, and the secret that signs what goes there."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        # Partial, so that `url` is no key: changing it never waits for a publish that refers to the endpoint.
        Index("uq_webhook_endpoints__all_url", "client_id", "url", unique=True, postgresql_where=HEARS_ALL),
        Index("uq_webhook_endpoints__named_url", "client_id", "url", unique=True, postgresql_where=IS_NAMED),
        Index("ix_webhook_endpoints__client", "client_id", "id"),
        CheckConstraint("enabled = (disabled_reason IS NULL)", name="disabled_has_reason"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_expires_at IS NULL)", name="previous_secret_expires"
        ),
    )

    id: Mapped[UuidKey]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    scope: Mapped[EndpointScope] = mapped_column(enum_column(EndpointScope))
    events: Mapped[list[str]]
    """Kinds that it hears of, of `models.webhooks.kinds`; a job that names it may ask for others."""
    secret: Mapped[str] = mapped_column(Text)
    """`whsec_<base64>`: an HMAC needs it as it is."""
    previous_secret: Mapped[str | None] = mapped_column(Text)
    """After a rotation both sign, until this one's end."""
    previous_secret_expires_at: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    """`gone` (it answered 410), `failing` (for days), `asked` (by its client or an operator)."""
    failing_since: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    """By every UPDATE: what it wanted before is not known (`models.invariants`)."""


class WebhookMessage(Base):
    """What is said of a job: its body is made once, so that every try and every target gets the same.

    `webhook.test` is said of no job.
    """

    __tablename__ = "webhook_messages"
    __table_args__ = (UniqueConstraint("job_id", "kind"),)

    id: Mapped[UuidKey]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """One message on its way to one endpoint. `tries` is the fencing token, as a job's `attempt` is."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("message_id", "endpoint_id"),
        CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="lease_is_whole"),
        CheckConstraint("lease_owner IS NULL OR state = 'pending'", name="only_pending_is_leased"),
        CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="ended_has_finished_at"),
        # By endpoint first: a claim hops from endpoint to endpoint, however many deliveries one of them has.
        Index("ix_webhook_deliveries__due", "endpoint_id", "available_at", postgresql_where=PENDING),
        Index("ix_webhook_deliveries__leased", "endpoint_id", postgresql_where=LEASED),
        Index("ix_webhook_deliveries__endpoint", "endpoint_id", "id"),
        Index("ix_webhook_deliveries__endpoint_state", "endpoint_id", "state", "id"),
    )

    id: Mapped[UuidKey]
    message_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_messages.id", ondelete="CASCADE"))
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    state: Mapped[DeliveryState] = mapped_column(enum_column(DeliveryState), server_default=DeliveryState.PENDING.value)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    earlier_tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Tries before the newest redelivery: the retry schedule counts `tries - earlier_tries`."""
    available_at: Mapped[CreatedAt]
    """Not claimed before; the retry schedule pushes it."""
    lease_owner: Mapped[str | None] = mapped_column(Text)
    lease_expires_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One try, in the delivery log. Appended."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    started_at: Mapped[CreatedAt]
    seconds: Mapped[float] = mapped_column(Float)
    status_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    """Why there is no status, or why it did not count: a short stable word, never the target's text."""
