"""Endpoints of webhooks and what becomes of their deliveries: secrets, limits, switches, redelivery, the log's end."""

import threading
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models.errors import ConflictError
from models.jobs import (
    cancel,
)
from models.session import Sessions
from models.webhooks import (
    DeliveryState,
    EndpointScope,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from models.webhooks.endpoints import (
    MAX_ENDPOINTS,
    EndpointQuotaError,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    rotate_secret,
)
from models.webhooks.kinds import TEST_KIND
from models.webhooks.log import forget_deliveries, forget_old
from models.webhooks.outbox import enqueue_test, redeliver
from tests.models.hooks import URL, count, endpoint, owner_of
from tests.seeding import Seeder

# --- endpoints -------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_the_form_of_the_standard_and_rotates(seed: Seeder, sessions: Sessions) -> None:
    from standardwebhooks import Webhook

    target = endpoint(sessions, seed.client())
    with sessions.begin() as session:
        row = session.get_one(WebhookEndpoint, target)
        old = row.secret
        rotate_secret(session, row, hours=24)
        assert (row.previous_secret, row.previous_secret_expires_at is not None) == (old, True)
        assert row.secret.startswith("whsec_")
        assert row.secret != old
    assert len(Webhook(old)._whsecret) == 32


def test_a_client_has_one_endpoint_for_a_url_and_a_limited_number(
    seed: Seeder, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = seed.client()
    endpoint(sessions, client)
    with pytest.raises(ConflictError), sessions.begin() as session:
        create_endpoint(session, client, URL)
    monkeypatch.setitem(MAX_ENDPOINTS, EndpointScope.ALL, 3)
    failures: list[Exception] = []

    def add(number: int) -> None:
        try:
            endpoint(sessions, client, f"{URL}/{number}")
        except EndpointQuotaError as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4
    assert count(sessions, WebhookEndpoint) == 3
    endpoint(sessions, seed.client())


def test_switching_off_keeps_the_first_reason_and_on_forgets_it(seed: Seeder, sessions: Sessions) -> None:
    target = endpoint(sessions, seed.client())
    with sessions.begin() as session:
        session.execute(text("UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'gone'"))
    with sessions.begin() as session:
        row = session.get_one(WebhookEndpoint, target)
        change_endpoint(session, row, enabled=False)
        assert row.disabled_reason == "gone"
        change_endpoint(session, row, enabled=True)
        assert (row.enabled, row.disabled_reason) == (True, None)
        change_endpoint(session, row, enabled=False, events=["job.failed", "job.failed"])
        assert (row.disabled_reason, row.events) == ("asked", ["job.failed"])


# --- deliveries ------------------------------------------------------------------------------------------------------


@pytest.fixture
def delivery(seed: Seeder, sessions: Sessions) -> UUID:
    """One that failed after three tries."""
    job = seed.job(seed.client(), seed.checkpoint())
    endpoint(sessions, owner_of(seed, job), events=["job.canceled"])
    with sessions.begin() as session:
        cancel(session, job)
    with sessions.begin() as session:
        session.execute(text("UPDATE webhook_deliveries SET state = 'failed', tries = 3, finished_at = now()"))
        found = session.scalars(select(WebhookDelivery)).one()
        session.add(WebhookAttempt(delivery_id=found.id, number=3, seconds=0.1, status_code=500))
        return found.id


def test_a_redelivery_is_due_at_once_with_a_schedule_of_its_own(sessions: Sessions, delivery: UUID) -> None:
    with sessions() as session:
        before = session.get_one(WebhookDelivery, delivery)
    with sessions.begin() as session:
        assert redeliver(session, delivery)
    with sessions() as session:
        after = session.get_one(WebhookDelivery, delivery)
        assert len(session.scalars(select(WebhookAttempt)).all()) == 1
    assert (after.state, after.finished_at, after.message_id) == (DeliveryState.PENDING, None, before.message_id)
    assert (after.tries, after.earlier_tries) == (3, 3), "the fencing token goes on, the schedule begins anew"
    assert after.available_at > before.available_at


@pytest.mark.parametrize("why", ["leased", "disabled"])
def test_what_is_being_sent_or_switched_off_is_not_sent_again(sessions: Sessions, delivery: UUID, why: str) -> None:
    leased = """UPDATE webhook_deliveries SET state = 'pending', finished_at = NULL, lease_owner = 'd',
                lease_expires_at = now() + interval '1 minute'"""
    disabled = "UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'asked'"
    with sessions.begin() as session:
        session.execute(text(leased if why == "leased" else disabled))
    with sessions.begin() as session:
        assert not redeliver(session, delivery)


def test_a_test_message_is_of_no_job(seed: Seeder, sessions: Sessions) -> None:
    target = endpoint(sessions, seed.client())
    with sessions.begin() as session:
        delivery = enqueue_test(session, target)
        assert enqueue_test(session, target) != delivery
    with sessions() as session:
        row = session.get_one(WebhookDelivery, delivery)
        message = session.get_one(WebhookMessage, row.message_id)
    assert (message.kind, message.job_id, row.endpoint_id, row.state) == (TEST_KIND, None, target, "pending")
    assert message.payload["type"] == TEST_KIND
    assert message.payload["data"] == {"object": "webhook", "id": str(target)}
    with sessions.begin() as session:
        change_endpoint(session, session.get_one(WebhookEndpoint, target), enabled=False)
        assert enqueue_test(session, target) is None


def test_the_log_is_forgotten_in_pages_but_not_what_is_on_its_way(
    sessions: Sessions, delivery: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.webhooks.log.BATCH_ROWS", 2)
    add = """
        WITH message AS (
            INSERT INTO webhook_messages (id, kind, payload)
            SELECT uuidv7(interval '-31 days'), 'webhook.test', '{}' FROM generate_series(1, 3) RETURNING id
        )
        INSERT INTO webhook_deliveries (message_id, endpoint_id, state, finished_at)
        SELECT message.id, endpoint.id, CAST(:state AS text),
               CASE WHEN CAST(:state AS text) <> 'pending' THEN now() END
        FROM message, webhook_endpoints AS endpoint
    """
    with sessions.begin() as session:
        for state in ("delivered", "pending"):
            session.execute(text(add), {"state": state})
    forgotten = []
    for _ in range(3):
        with sessions.begin() as session:
            forgotten.append(forget_old(session, days=30))
    assert forgotten == [2, 1, 0]
    with sessions() as session:
        left = session.scalars(select(WebhookDelivery.state)).all()
        assert session.get(WebhookDelivery, delivery) is not None
    assert sorted(left) == ["failed", "pending", "pending", "pending"]


def test_an_endpoint_goes_with_its_log(sessions: Sessions, delivery: UUID) -> None:
    with sessions.begin() as session:
        target = session.get_one(WebhookDelivery, delivery).endpoint_id
        assert forget_deliveries(session, target) == 1
        assert forget_deliveries(session, target) == 0
        delete_endpoint(session, target)
    assert count(sessions, WebhookAttempt) == count(sessions, WebhookEndpoint) == 0
