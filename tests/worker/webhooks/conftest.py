"""Fixtures of the dispatcher's tests: senders, endpoints, and messages on their way."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from models.session import Sessions
from models.settings import Settings
from models.webhooks import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from models.webhooks.claim import ClaimedDelivery
from models.webhooks.delivery import DeliveryHold
from models.webhooks.endpoints import create_endpoint, make_secret
from models.webhooks.outbox import enqueue_test
from tests.seeding import Seeder
from tests.worker.webhooks.target import Answer, Target, target
from worker.webhooks.network import make_tls
from worker.webhooks.sending import Sender

TIMEOUT_SECONDS = 1.0
PAYLOAD = '{"type": "job.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": {"tag": "猫 é"}}'


def claimed(url: str, *secrets: str, payload: str = PAYLOAD) -> ClaimedDelivery:
    """A try that no database knows of."""
    return ClaimedDelivery(
        hold=DeliveryHold(uuid.uuid4(), uuid.uuid4(), 1, "test"),
        url=url,
        secrets=secrets or (make_secret(),),
        message_id=uuid.uuid4(),
        kind="job.succeeded",
        payload=payload,
        claimed_at=datetime.now(UTC),
    )


@pytest.fixture
def sender() -> Sender:
    """One that may send to this machine."""
    return Sender(make_tls(), TIMEOUT_SECONDS, allow_private=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hook.example that nobody trusts by default, and its key."""
    openssl = shutil.which("openssl")
    assert openssl, "these tests make a certificate with openssl"
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    argv = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-days", "2", "-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"]
    subprocess.run([*argv, *subject, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@dataclass
class Outbox:
    """Endpoints on local targets, messages, and what became of them."""

    sessions: Sessions
    seed: Seeder
    stack: ExitStack
    secrets: dict[UUID, str] = field(default_factory=dict)

    def target(self, *script: Answer) -> tuple[Target, UUID]:
        """A target that answers by a script, and the endpoint that leads there."""
        running = self.stack.enter_context(target(*script))
        with self.sessions.begin() as session:
            endpoint = create_endpoint(session, self.seed.client(), running.url)
        self.secrets[endpoint.id] = endpoint.secret
        return running, endpoint.id

    def send(self, endpoint: UUID, count: int = 1) -> list[UUID]:
        """Messages on their way; the deliveries' ids."""
        with self.sessions.begin() as session:
            made = [enqueue_test(session, endpoint) for _ in range(count)]
        return [delivery for delivery in made if delivery is not None]

    def read(self, delivery: UUID) -> WebhookDelivery:
        with self.sessions() as session:
            return session.get_one(WebhookDelivery, delivery)

    def endpoint(self, endpoint: UUID) -> WebhookEndpoint:
        with self.sessions() as session:
            return session.get_one(WebhookEndpoint, endpoint)

    def states(self, deliveries: list[UUID]) -> list[DeliveryState]:
        return [self.read(delivery).state for delivery in deliveries]

    def log(self, delivery: UUID) -> list[tuple[int, int | None, str | None]]:
        """Number, status and error of each try."""
        query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery).order_by(WebhookAttempt.number)
        with self.sessions() as session:
            return [(row.number, row.status_code, row.error) for row in session.scalars(query)]


@pytest.fixture
def outbox(sessions: Sessions, seed: Seeder) -> Iterator[Outbox]:
    """Targets of this test."""
    with ExitStack() as stack:
        yield Outbox(sessions, seed, stack)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Local targets, short tries, a short schedule."""
    return settings.model_copy(
        update={
            "webhook_allow_private": True,
            "webhook_timeout_seconds": TIMEOUT_SECONDS,
            "webhook_retry_seconds": (0.05, 0.1, 0.1),
        }
    )


class FakeResolver:
    """Answers each look-up with the next of its lists, and counts them."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
