"""What tests of webhooks make and count."""

from typing import Any
from uuid import UUID

from sqlalchemy import select

from models.session import Sessions
from models.webhooks.endpoints import (
    create_endpoint,
)
from models.webhooks.kinds import KINDS
from tests.seeding import Seeder

URL = "https://hooks.example.com/safelight"


def endpoint(sessions: Sessions, client: UUID, url: str = URL, events: list[str] | None = None) -> UUID:
    """An endpoint that hears of every job of this client, by default of every kind."""
    with sessions.begin() as session:
        return create_endpoint(session, client, url, sorted(KINDS) if events is None else events).id


def count(sessions: Sessions, row: type[Any]) -> int:
    with sessions() as session:
        return len(session.scalars(select(row)).all())


def owner_of(seed: Seeder, job: UUID) -> UUID:
    return seed.read(job).client_id
