"""The monitor on what others must do: workers that are woken, messages that are written, deliveries that are sent."""

import time
from uuid import UUID

import pytest
from sqlalchemy import text

from models.daemons import DaemonKind
from models.invariants import examine
from models.invariants.table import Patience
from models.jobs import CheckpointCard
from models.session import Sessions
from models.settings import Settings
from models.states import Pool
from tests.models.living import TIGHT, names, run, succeeded, sweeper_alive, waits, worker_alive
from tests.seeding import Seeder


@pytest.fixture
def tight(settings: Settings) -> Settings:
    """Patience that ends within a second."""
    return settings.model_copy(update=TIGHT)


@pytest.fixture
def client(seed: Seeder) -> UUID:
    return seed.client("shop")


@pytest.fixture
def card(seed: Seeder) -> CheckpointCard:
    return seed.checkpoint()


def test_a_queue_without_a_worker_is_a_warning_and_breaks_nothing(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, tight: Settings
) -> None:
    sweeper_alive(sessions)
    seed.job(client, card)
    assert names(examine(sessions, tight)) == set()
    waits(sessions)
    time.sleep(Patience.of(tight).idle)
    sweeper_alive(sessions)
    health = examine(sessions, tight)
    assert names(health) == {"no_worker"}
    assert not health.broken
    assert health.violations[0].examples == ("gpu",)
    assert 3600 <= (health.figures.queue_oldest[Pool.GPU] or 0) < 3700
    assert health.figures.queue_oldest[Pool.CPU] is None


@pytest.mark.parametrize(
    ("phase", "started", "broken"),
    [("idle", "1 hour", {"queue_stalled"}), ("running", "1 hour", set()), ("idle", "0 seconds", set())],
)
def test_an_idle_worker_beside_waiting_work_is_named(
    phase: str,
    started: str,
    broken: set[str],
    seed: Seeder,
    sessions: Sessions,
    client: UUID,
    card: CheckpointCard,
    tight: Settings,
) -> None:
    """Given a worker that has had nothing to do for long; but not one that is busy or has just come."""
    seed.job(client, card)
    waits(sessions)
    time.sleep(Patience.of(tight).idle)
    sweeper_alive(sessions)
    worker_alive(sessions, phase=phase)
    run(sessions, f"UPDATE workers SET started_at = now() - interval '{started}'")  # noqa: S608
    assert names(examine(sessions, tight)) == broken


def test_a_queue_that_moves_is_not_stalled(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, settings: Settings
) -> None:
    """Given a worker that was idle at its last heartbeat, when it has claimed since, then nothing is stalled."""
    sweeper_alive(sessions)
    worker_alive(sessions)
    run(sessions, "UPDATE workers SET started_at = now() - interval '1 hour'")
    succeeded(seed, sessions, client, card)
    seed.job(client, card)
    waits(sessions)
    assert names(examine(sessions, settings)) == set()
    run(sessions, "UPDATE job_events SET created_at = now() - interval '1 hour'")
    tried = examine(sessions, settings.model_copy(update=TIGHT))
    assert names(tried) == {"queue_stalled"}


def endpoint(sessions: Sessions, client: UUID, *, scope: str = "all", age: str = "1 hour") -> UUID:
    made = """INSERT INTO webhook_endpoints (client_id, url, scope, events, secret, changed_at)
        VALUES (:client, 'https://example.org/', :scope, '["job.succeeded"]', 'whsec_x', now() - CAST(:age AS interval))
        RETURNING id"""
    with sessions.begin() as session:
        found = session.scalars(text(made), {"client": client, "scope": scope, "age": age}).one()
    return UUID(str(found))


def test_a_message_that_is_not_in_the_outbox_is_named(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, settings: Settings
) -> None:
    sweeper_alive(sessions)
    target = endpoint(sessions, client)
    job = succeeded(seed, sessions, client, card)
    assert names(examine(sessions, settings)) == set()
    run(sessions, "DELETE FROM webhook_messages")
    found = examine(sessions, settings).violation("webhook_messages")
    assert found is not None
    assert found.examples == (str(job),)
    run(sessions, "UPDATE webhook_endpoints SET changed_at = now() WHERE id = :id", id=target)
    assert names(examine(sessions, settings)) == set()


def test_a_job_that_names_its_target_is_heard_of_there(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, settings: Settings
) -> None:
    sweeper_alive(sessions)
    target = endpoint(sessions, client, scope="named")
    job = succeeded(seed, sessions, client, card)
    assert names(examine(sessions, settings)) == set()
    run(sessions, "UPDATE jobs SET webhook_endpoint_id = :id WHERE id = :job", id=target, job=job)
    assert names(examine(sessions, settings)) == {"webhook_messages"}
    run(sessions, "UPDATE jobs SET webhook_events = '[\"job.failed\"]'")
    assert names(examine(sessions, settings)) == set()


def test_deliveries_that_nobody_sends_are_a_warning(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, tight: Settings
) -> None:
    endpoint(sessions, client)
    succeeded(seed, sessions, client, card)
    time.sleep(Patience.of(tight).daemon)
    sweeper_alive(sessions)
    health = examine(sessions, tight)
    assert names(health) == {"no_dispatcher"}
    assert (health.broken, health.figures.webhooks_due) == (False, 1)
    sweeper_alive(sessions, kind=DaemonKind.DISPATCHER)
    assert names(examine(sessions, tight)) == set()
    run(sessions, "UPDATE webhook_deliveries SET available_at = now() - interval '1 hour'")
    health = examine(sessions, tight)
    assert names(health) == {"webhook_overdue"}
    assert (health.figures.webhooks_oldest or 0) >= 3600
    leased = "UPDATE webhook_deliveries SET lease_owner = 'd', lease_expires_at = now() + interval '1 minute'"
    run(sessions, leased)
    health = examine(sessions, tight)
    assert (names(health), health.figures.webhooks_due) == (set(), 0)
