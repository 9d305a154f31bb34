"""Endpoints, messages and claims for tests of deliveries."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from models.session import Sessions
from models.settings import Settings
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from models.webhooks.claim import ClaimedDelivery, Shares, claim_deliveries
from models.webhooks.delivery import (
    DeliveryHold,
    Settled,
    Tried,
    delivered,
    gone,
    retry_or_fail,
)
from models.webhooks.endpoints import create_endpoint
from models.webhooks.outbox import enqueue_test
from tests.seeding import Seeder

TOOK = Tried(0.1, 200)
FAILED = Tried(0.1, 500, "status")
LEASE_SECONDS = 30.0


@dataclass
class Post:
    """Endpoints, messages and claims of one test, each in a transaction of its own."""

    sessions: Sessions
    seed: Seeder
    settings: Settings

    def endpoint(self, url: str = "https://example.com/hook", client: UUID | None = None) -> UUID:
        """Of a client of its own, unless one is given."""
        with self.sessions.begin() as session:
            return create_endpoint(session, client or self.seed.client(), url).id

    def send(self, endpoint: UUID, count: int = 1) -> list[UUID]:
        with self.sessions.begin() as session:
            made = [enqueue_test(session, endpoint) for _ in range(count)]
        return [delivery for delivery in made if delivery is not None]

    def claim(
        self, *, owner: str = "d1", limit: int = 10, per_endpoint: int = 4, per_client: int = 99
    ) -> list[ClaimedDelivery]:
        shares = Shares(per_endpoint, per_client)
        with self.sessions.begin() as session:
            return claim_deliveries(session, owner=owner, limit=limit, shares=shares, lease_seconds=LEASE_SECONDS)

    def fail(self, hold: DeliveryHold, tried: Tried = FAILED, *, final: bool = False) -> Settled:
        with self.sessions.begin() as session:
            return retry_or_fail(session, hold, tried, self.settings, final=final)

    def take(self, hold: DeliveryHold) -> Settled:
        with self.sessions.begin() as session:
            return delivered(session, hold, TOOK)

    def gone(self, hold: DeliveryHold) -> Settled:
        with self.sessions.begin() as session:
            return gone(session, hold, Tried(0.1, 410, "status"))

    def read(self, delivery: UUID) -> WebhookDelivery:
        with self.sessions() as session:
            return session.get_one(WebhookDelivery, delivery)

    def read_endpoint(self, endpoint: UUID) -> WebhookEndpoint:
        with self.sessions() as session:
            return session.get_one(WebhookEndpoint, endpoint)

    def log(self, delivery: UUID) -> list[tuple[int, int | None, str | None]]:
        query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery).order_by(WebhookAttempt.number)
        with self.sessions() as session:
            return [(row.number, row.status_code, row.error) for row in session.scalars(query)]

    def pause(self, delivery: UUID) -> float:
        """Until it is due again."""
        query = select(func.extract("epoch", WebhookDelivery.available_at - func.now()))
        with self.sessions() as session:
            return float(session.scalars(query.where(WebhookDelivery.id == delivery)).one())

    def change(self, table: Any, row: UUID, **values: Any) -> None:
        with self.sessions.begin() as session:
            session.execute(update(table).where(table.id == row).values(**values))

    def make_due(self, delivery: UUID) -> None:
        self.change(WebhookDelivery, delivery, available_at=func.now())

    def lose(self, delivery: UUID) -> None:
        """Its lease runs out."""
        self.change(WebhookDelivery, delivery, lease_expires_at=func.now() - timedelta(seconds=1))
