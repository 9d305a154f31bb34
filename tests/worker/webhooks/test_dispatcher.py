"""The dispatcher in this process: the outbox's deliveries reach real targets, and what fails is tried again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import openai
import pytest
from sqlalchemy import Engine, func, select, text, update
from standardwebhooks import Webhook, WebhookVerificationError

from models.daemons import Daemon, DaemonKind
from models.session import Sessions
from models.settings import Settings
from models.webhooks import DeliveryState, WebhookEndpoint
from models.webhooks.claim import Shares
from models.webhooks.endpoints import change_endpoint, rotate_secret
from models.webhooks.outbox import redeliver
from tests.worker.conftest import until
from tests.worker.webhooks.conftest import Outbox
from tests.worker.webhooks.target import cut_head, hang, huge_body, status
from worker.webhooks import dispatcher as room
from worker.webhooks.__main__ import make_sender
from worker.webhooks.dispatcher import Dispatcher
from worker.webhooks.listening import Listener

DELIVERED, FAILED, PENDING = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.PENDING


@contextmanager
def dispatching(settings: Settings, sessions: Sessions) -> Iterator[Dispatcher]:
    """One dispatcher, until the end of the block."""
    running = Dispatcher(settings, sessions, make_sender(settings))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.heard(0, None)
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def start(quick: Settings, sessions: Sessions) -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers; they end with the test."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(dispatching(quick.model_copy(update=changes), sessions))


def test_a_message_arrives_signed_and_is_logged(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    start()
    until(lambda: outbox.states([delivery]) == [DELIVERED])
    (got,) = target.received
    secret = outbox.secrets[endpoint]
    assert Webhook(secret).verify(got.body, got.plain_headers)["type"] == "webhook.test"
    with openai.OpenAI(api_key="none", webhook_secret=secret) as client:
        assert client.webhooks.unwrap(got.body, got.plain_headers).type == "webhook.test"
    assert outbox.log(delivery) == [(1, 200, None)]


@pytest.mark.parametrize("first", [status(500), status(302, Location="http://127.0.0.1/"), status(429), hang, cut_head])
def test_what_was_not_taken_is_sent_again_the_same(
    outbox: Outbox, start: Callable[..., Dispatcher], first: Callable[..., None]
) -> None:
    """Given a target that fails once, when it is tried again, then id and body are the same and it is delivered."""
    target, endpoint = outbox.target(first, status(200))
    (delivery,) = outbox.send(endpoint)
    start()
    until(lambda: outbox.states([delivery]) == [DELIVERED])
    once, again = target.received
    assert (once.id, once.body) == (again.id, again.body)
    (_, _, error), last = outbox.log(delivery)
    assert error in {"status", "redirect", "timeout", "protocol"}
    assert last == (2, 200, None)
    assert outbox.endpoint(endpoint).failing_since is None


def test_a_schedule_ends(outbox: Outbox, start: Callable[..., Dispatcher], quick: Settings) -> None:
    target, endpoint = outbox.target(status(503))
    (delivery,) = outbox.send(endpoint)
    start()
    until(lambda: outbox.states([delivery]) == [FAILED])
    tries = len(quick.webhook_retry_seconds) + 1
    assert outbox.log(delivery) == [(number, 503, "status") for number in range(1, tries + 1)]
    assert len({(got.id, got.body) for got in target.received}) == 1
    assert outbox.endpoint(endpoint).failing_since is not None


def test_retry_after_is_kept_to(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target(status(429, Retry_After="3600"))
    (delivery,) = outbox.send(endpoint)
    start()
    until(lambda: outbox.log(delivery))
    with outbox.sessions() as session:
        now = session.scalars(select(func.now())).one()
    assert 3500 < (outbox.read(delivery).available_at - now).total_seconds() <= 3600
    assert len(target.received) == 1


def test_410_ends_it_for_all(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target(status(410))
    deliveries = outbox.send(endpoint, 12)
    start()
    until(lambda: set(outbox.states(deliveries)) == {FAILED})
    row = outbox.endpoint(endpoint)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    assert len(target.received) <= room.SHARES.per_endpoint


def test_a_disabled_endpoint_gets_nothing(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target()
    deliveries = outbox.send(endpoint, 3)
    with outbox.sessions.begin() as session:
        change_endpoint(session, session.get_one(WebhookEndpoint, endpoint), enabled=False)
    start()
    until(lambda: set(outbox.states(deliveries)) == {FAILED})
    assert target.received == []


def test_rotation_signs_with_both_until_the_old_one_ends(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target()
    old = outbox.secrets[endpoint]
    with outbox.sessions.begin() as session:
        rotate_secret(session, session.get_one(WebhookEndpoint, endpoint), hours=1)
    new = outbox.endpoint(endpoint).secret
    assert new != old
    start()
    outbox.send(endpoint)
    until(lambda: len(target.received) == 1)
    with outbox.sessions.begin() as session:
        session.execute(update(WebhookEndpoint).values(previous_secret_expires_at=func.now()))
    outbox.send(endpoint)
    until(lambda: len(target.received) == 2)

    during, after = target.received
    for secret in (old, new):
        Webhook(secret).verify(during.body, during.plain_headers)
    Webhook(new).verify(after.body, after.plain_headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(after.body, after.plain_headers)


def test_a_redelivery_has_the_same_id(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    start()
    until(lambda: outbox.states([delivery]) == [DELIVERED])
    with outbox.sessions.begin() as session:
        assert redeliver(session, delivery)
    until(lambda: outbox.log(delivery) == [(1, 200, None), (2, 200, None)])
    assert len({(got.id, got.body) for got in target.received}) == 1
    assert len(target.received) == 2


def test_without_the_setting_nothing_goes_to_this_machine(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    start(webhook_allow_private=False)
    until(lambda: outbox.states([delivery]) == [FAILED])
    assert outbox.log(delivery) == [(1, None, "refused_url")]  # http, to begin with
    assert target.received == []


def test_hanging_targets_do_not_hold_another_up(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    """Given hanging targets with long queues, when a message goes to a good one, then it arrives before they end."""
    hanging = [outbox.target(hang) for _ in range(3)]
    stuck = [delivery for _, endpoint in hanging for delivery in outbox.send(endpoint, 20)]
    target, endpoint = outbox.target()
    start(webhook_timeout_seconds=30.0)
    until(lambda: all(len(bad.received) == room.SHARES.per_endpoint for bad, _ in hanging))

    deliveries = outbox.send(endpoint, 40)
    until(lambda: set(outbox.states(deliveries)) == {DELIVERED})

    assert len(target.received) == 40
    assert set(outbox.states(stuck)) == {PENDING}
    assert all(outbox.log(delivery) == [] for delivery in stuck)
    for bad, _ in hanging:
        bad.released.set()


def test_two_dispatchers_send_each_try_once(outbox: Outbox, start: Callable[..., Dispatcher]) -> None:
    targets = [outbox.target(status(500), status(200)) for _ in range(3)]
    deliveries = [delivery for _, endpoint in targets for delivery in outbox.send(endpoint, 25)]
    start()
    start()
    until(lambda: set(outbox.states(deliveries)) == {DELIVERED}, 90)
    tries = [(delivery, *entry) for delivery in deliveries for entry in outbox.log(delivery)]
    assert len(tries) == sum(len(target.received) for target, _ in targets) == 75 + 3
    assert all(len({got.id for got in target.received}) == 25 for target, _ in targets)


def test_a_stop_ends_what_is_in_flight_and_claims_no_more(
    outbox: Outbox, quick: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SHARES", Shares(per_endpoint=1, per_client=1))

    def slow(handler: Any) -> None:
        time.sleep(0.5)
        status(200)(handler)

    target, endpoint = outbox.target(slow)
    deliveries = outbox.send(endpoint, 3)
    with dispatching(quick.model_copy(update={"webhook_timeout_seconds": 20.0}), sessions):
        until(lambda: target.received)
        with sessions() as session:
            kinds = session.scalars(select(Daemon.kind)).all()
    assert list(kinds) == [DaemonKind.DISPATCHER]
    states = outbox.states(deliveries)
    assert (states.count(DELIVERED), states.count(PENDING)) == (1, 2)
    assert [outbox.read(delivery).lease_owner for delivery in deliveries] == [None] * 3
    with sessions() as session:
        assert session.scalars(select(Daemon)).all() == []


def listening(outbox: Outbox) -> int:
    """How many sessions have said LISTEN and have nothing else to do."""
    query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
    with outbox.sessions() as session:
        return int(session.scalars(query).one())


def test_a_notify_rings_before_the_next_poll(
    outbox: Outbox, engine: Engine, start: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a dispatcher that hardly polls, when a message is written, then it is sent at once."""
    monkeypatch.setattr(room, "POLL_SECONDS", 3600.0)
    target, endpoint = outbox.target()
    running = start()
    listener = Listener(engine, running.ring)
    listener.start()
    until(lambda: listening(outbox) and running._bell.empty())
    assert target.received == []
    outbox.send(endpoint)
    until(lambda: target.received)
    listener.stop()


def test_what_it_logs_names_no_target(
    outbox: Outbox, start: Callable[..., Dispatcher], capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the URL, whose path may be as secret as a key, nor the secret, nor what the target said."""
    _, endpoint = outbox.target(status(500), huge_body, status(200))
    deliveries = outbox.send(endpoint, 2)
    start()
    until(lambda: set(outbox.states(deliveries)) == {DELIVERED})
    said = "".join(capfd.readouterr())
    assert str(deliveries[0]) in said
    for never in ("/hook", "token", "127.0.0.1", outbox.secrets[endpoint], outbox.secrets[endpoint][6:], "xxxx"):
        assert never not in said
