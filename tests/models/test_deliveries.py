"""Claiming and settling webhook deliveries: leases, fences, fairness between endpoints, the retry schedule."""

import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from models.session import Sessions
from models.settings import Settings
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint
from models.webhooks.claim import LOST, ClaimedDelivery, Shares, claim_deliveries, fail_disabled
from models.webhooks.delivery import (
    JITTER,
    MAX_RETRY_AFTER_SECONDS,
    Settled,
    Tried,
    retry_or_fail,
)
from models.webhooks.outbox import enqueue_test, redeliver
from tests.models.post import FAILED, LEASE_SECONDS, Post
from tests.seeding import Seeder


@pytest.fixture
def post(sessions: Sessions, seed: Seeder, settings: Settings) -> Post:
    return Post(sessions, seed, settings)


# --- claiming ------------------------------------------------------------------------------------------------------


def test_a_claim_carries_what_a_try_needs_and_leaves_nothing_for_a_second(post: Post) -> None:
    endpoint = post.endpoint()
    (delivery,) = post.send(endpoint)

    (claimed,) = post.claim()

    row = post.read_endpoint(endpoint)
    assert (claimed.hold.delivery_id, claimed.hold.tries, claimed.hold.owner) == (delivery, 1, "d1")
    assert (claimed.url, claimed.secrets, claimed.kind) == (row.url, (row.secret,), "webhook.test")
    assert json.loads(claimed.payload)["type"] == "webhook.test"
    assert post.claim(owner="d2") == []


def test_every_try_gets_the_same_text_and_the_same_id(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    (first,) = post.claim()
    post.fail(first.hold)
    post.make_due(delivery)
    (second,) = post.claim(owner="d2")
    assert (first.payload, first.message_id) == (second.payload, second.message_id)
    assert second.hold.tries == 2


def test_what_is_not_due_yet_waits(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    post.change(WebhookDelivery, delivery, available_at=func.now() + timedelta(seconds=60))
    assert post.claim() == []


def test_an_expired_lease_is_claimed_again_and_the_lost_try_is_logged(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    (zombie,) = post.claim(owner="zombie")
    post.lose(delivery)

    (claimed,) = post.claim(owner="d2")

    assert (claimed.hold.tries, claimed.hold.owner) == (2, "d2")
    assert post.log(delivery) == [(1, None, LOST)]
    # The zombie wakes in either order: it changes nothing, and writes no row of the log.
    assert {post.take(zombie.hold), post.fail(zombie.hold), post.gone(zombie.hold)} == {Settled.FENCED}
    assert post.read(delivery).lease_owner == "d2"
    assert post.take(claimed.hold) is Settled.DELIVERED
    assert post.take(zombie.hold) is Settled.FENCED
    assert post.log(delivery) == [(1, None, LOST), (2, 200, None)]


def test_a_dispatcher_is_its_own_zombie(post: Post) -> None:
    """Given a try that its own dispatcher made again, when the first one ends late, then only the second counts."""
    (delivery,) = post.send(post.endpoint())
    (first,) = post.claim(owner="d1")
    post.lose(delivery)
    (second,) = post.claim(owner="d1")

    assert {post.take(first.hold), post.fail(first.hold), post.gone(first.hold)} == {Settled.FENCED}

    assert post.take(second.hold) is Settled.DELIVERED
    assert post.log(delivery) == [(1, None, LOST), (2, 200, None)]


def test_a_zombie_does_not_end_what_was_redelivered_meanwhile(post: Post) -> None:
    """Given a lost try and a redelivery that nobody has claimed, when its zombie wakes, then the redelivery stands."""
    (delivery,) = post.send(post.endpoint())
    (zombie,) = post.claim()
    post.lose(delivery)
    with post.sessions.begin() as session:
        assert redeliver(session, delivery)
    assert post.take(zombie.hold) is Settled.FENCED
    assert post.read(delivery).state is DeliveryState.PENDING


def test_an_endpoint_has_a_few_tries_in_flight_whoever_claimed_them(post: Post) -> None:
    endpoint = post.endpoint()
    post.send(endpoint, 10)
    first = post.claim(owner="d1", per_endpoint=3)
    assert len(first) == 3
    assert post.claim(owner="d2", per_endpoint=3) == []

    post.take(first[0].hold)

    assert len(post.claim(owner="d2", per_endpoint=3)) == 1


def test_a_failing_endpoint_is_asked_one_at_a_time_until_it_takes_one(post: Post) -> None:
    endpoint = post.endpoint()
    post.send(endpoint, 5)
    (bad,) = post.claim(per_endpoint=1)
    post.fail(bad.hold)

    (only,) = post.claim(per_endpoint=4)
    assert post.take(only.hold) is Settled.DELIVERED

    assert len(post.claim(per_endpoint=4)) == 3


def test_a_flooded_endpoint_leaves_room_for_every_other(post: Post) -> None:
    flooded = post.endpoint()
    post.send(flooded, 200)
    others = [post.endpoint() for _ in range(3)]
    for other in others:
        post.send(other, 2)

    claimed = post.claim(limit=4, per_endpoint=4)

    assert {one.hold.endpoint_id for one in claimed} == {flooded, *others}


def test_a_client_with_many_targets_leaves_room_for_other_clients(post: Post) -> None:
    """Given a client with far more waiting targets than room, when another client sends to one, then it goes out."""
    crowd, client = post.seed.client(), post.seed.client()
    many = [post.endpoint(f"https://example.com/{number}", crowd) for number in range(12)]
    for endpoint in many:
        post.send(endpoint, 3)
    single = post.endpoint(client=client)
    post.send(single)

    claimed = [one.hold.endpoint_id for one in post.claim(limit=6, per_client=4)]

    assert sorted(claimed, key=str) == sorted({*claimed}, key=str)  # one of each: turns go before floods
    assert single in claimed
    assert len(claimed) == 4 + 1
    assert post.claim(limit=6, per_client=4) == []
    post.send(single)
    assert [one.hold.endpoint_id for one in post.claim(limit=1, per_client=99)] == [single]


def test_turns_count_what_is_in_flight_already(post: Post) -> None:
    """Given an endpoint with two tries in flight, when there is room for one, then the other endpoint gets it."""
    busy, idle = post.endpoint(), post.endpoint()
    post.send(busy, 6)
    assert len(post.claim(limit=2)) == 2
    post.send(idle)
    (claimed,) = post.claim(limit=1)
    assert claimed.hold.endpoint_id == idle


def test_a_claim_that_is_not_committed_is_passed_by_and_the_cap_holds(post: Post) -> None:
    crowded, free = post.endpoint(), post.endpoint()
    post.send(crowded, 6)
    with post.sessions.begin() as session:
        held = claim_deliveries(session, owner="d1", limit=2, shares=Shares(3, 9), lease_seconds=LEASE_SECONDS)
        assert len(held) == 2
        post.send(free)
        assert [one.hold.endpoint_id for one in post.claim(owner="d2", per_endpoint=3)] == [free]
    assert len(post.claim(owner="d2", per_endpoint=3)) == 1


def test_dispatchers_that_race_never_claim_the_same_try_nor_break_the_cap(post: Post) -> None:
    endpoints = [post.endpoint() for _ in range(3)]
    for endpoint in endpoints:
        post.send(endpoint, 20)
    claimed: list[ClaimedDelivery] = []
    most = 0
    lock = threading.Lock()

    def dispatch(owner: str) -> None:
        nonlocal most
        while True:
            batch = post.claim(owner=owner, limit=5, per_endpoint=2)
            with post.sessions() as session:
                in_flight = select(func.count()).where(WebhookDelivery.lease_owner.is_not(None))
                counts = session.scalars(in_flight.group_by(WebhookDelivery.endpoint_id)).all()
            with lock:
                claimed.extend(batch)
                most = max(most, *counts, 0)
                if len(claimed) == 60:
                    return
            for one in batch:
                post.take(one.hold)

    threads = [threading.Thread(target=dispatch, args=(f"d{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    tries = [(one.hold.delivery_id, one.hold.tries) for one in claimed]
    assert len(tries) == len(set(tries)) == 60
    assert most == 2


def test_a_dispatcher_frozen_in_its_claim_delays_no_publish(post: Post) -> None:
    """Given a claim that is not committed, when a message is written for the same endpoint, then it need not wait."""
    endpoint = post.endpoint()
    post.send(endpoint)
    with post.sessions.begin() as frozen:
        (claimed,) = claim_deliveries(frozen, owner="d1", limit=9, shares=Shares(4, 9), lease_seconds=LEASE_SECONDS)
        with post.sessions.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '500ms'"))
            assert enqueue_test(session, endpoint) is not None
    with post.sessions.begin() as frozen:
        assert retry_or_fail(frozen, claimed.hold, FAILED, post.settings) is Settled.RETRIED
        with post.sessions.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '500ms'"))
            assert enqueue_test(session, endpoint) is not None


# --- disabled endpoints ----------------------------------------------------------------------------------------------


def test_deliveries_of_a_disabled_endpoint_are_failed_and_never_sent(post: Post) -> None:
    endpoint = post.endpoint()
    waiting = post.send(endpoint, 3)
    (flying,) = post.claim(limit=1)
    post.change(WebhookEndpoint, endpoint, enabled=False, disabled_reason="asked")

    assert post.claim() == []
    with post.sessions.begin() as session:
        assert fail_disabled(session, limit=10, lease_seconds=LEASE_SECONDS) == 2

    # What is in flight ends by itself: for good, since there is nobody to try again.
    assert post.read(flying.hold.delivery_id).state is DeliveryState.PENDING
    assert post.fail(flying.hold) is Settled.FAILED
    assert {post.read(delivery).state for delivery in waiting} == {DeliveryState.FAILED}


def test_410_disables_the_endpoint_and_fails_what_waits(post: Post) -> None:
    endpoint, other = post.endpoint(), post.endpoint()
    waiting = post.send(endpoint, 4)
    post.send(other)
    claimed = [one for one in post.claim(per_endpoint=2) if one.hold.endpoint_id == endpoint]

    assert post.gone(claimed[0].hold) is Settled.DISABLED

    row = post.read_endpoint(endpoint)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    assert post.take(claimed[1].hold) is Settled.DELIVERED  # it was in flight, and the target took it
    states = sorted(post.read(delivery).state for delivery in waiting)
    assert states == [DeliveryState.DELIVERED, *[DeliveryState.FAILED] * 3]
    assert post.read_endpoint(other).enabled


# --- the schedule ----------------------------------------------------------------------------------------------------


def test_the_schedule_is_kept_to_its_end(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    for number, scheduled in enumerate(post.settings.webhook_retry_seconds, 1):
        post.make_due(delivery)
        (claimed,) = post.claim()
        assert claimed.hold.tries == number
        assert post.fail(claimed.hold) is Settled.RETRIED
        assert scheduled * (1 - JITTER) - 1 <= post.pause(delivery) <= scheduled * (1 + JITTER)
    post.make_due(delivery)
    (last,) = post.claim()
    assert post.fail(last.hold) is Settled.FAILED
    row = post.read(delivery)
    assert (row.state, row.lease_owner, row.finished_at is not None) == (DeliveryState.FAILED, None, True)
    assert post.log(delivery) == [(number, 500, "status") for number in range(1, 11)]
    assert post.claim() == []


def test_a_redelivery_has_a_fresh_schedule_and_its_tries_go_on_counting(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    (claimed,) = post.claim()
    assert post.fail(claimed.hold, final=True) is Settled.FAILED
    with post.sessions.begin() as session:
        assert redeliver(session, delivery)
    (again,) = post.claim()
    assert (again.hold.tries, again.message_id) == (2, claimed.message_id)
    assert post.fail(claimed.hold) is Settled.FENCED
    assert post.fail(again.hold) is Settled.RETRIED
    assert post.pause(delivery) <= post.settings.webhook_retry_seconds[0] * (1 + JITTER)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(0.0, 0.0, 6.0), (2.0, 0.0, 6.0), (900.0, 890.0, 900.0), (1e9, 86_000.0, MAX_RETRY_AFTER_SECONDS)],
)
def test_retry_after_lengthens_a_pause_up_to_a_cap(post: Post, asked: float, least: float, most: float) -> None:
    (delivery,) = post.send(post.endpoint())
    (claimed,) = post.claim()
    assert post.fail(claimed.hold, Tried(0.1, 429, "status", asked)) is Settled.RETRIED
    assert least <= post.pause(delivery) <= most


def test_a_target_that_is_not_allowed_fails_at_once(post: Post) -> None:
    (delivery,) = post.send(post.endpoint())
    (claimed,) = post.claim()
    assert post.fail(claimed.hold, Tried(0.0, error="refused_address"), final=True) is Settled.FAILED
    assert post.log(delivery) == [(1, None, "refused_address")]


# --- endpoints that fail for days ------------------------------------------------------------------------------------


def test_failing_begins_with_the_first_failure_and_ends_with_the_first_success(post: Post) -> None:
    endpoint = post.endpoint()
    changed = post.read_endpoint(endpoint).changed_at
    post.send(endpoint, 2)
    first, second = post.claim()
    post.fail(first.hold)
    since = post.read_endpoint(endpoint).failing_since
    assert since is not None
    post.fail(second.hold)
    assert post.read_endpoint(endpoint).failing_since == since
    post.make_due(first.hold.delivery_id)
    (again,) = post.claim()
    post.take(again.hold)
    row = post.read_endpoint(endpoint)
    assert (row.failing_since, row.changed_at) == (None, changed)


def test_days_of_failing_disable_an_endpoint(post: Post) -> None:
    endpoint = post.endpoint()
    one, two, three = post.send(endpoint, 3)
    claimed = {found.hold.delivery_id: found.hold for found in post.claim(limit=2)}
    post.fail(claimed[one], final=True)
    ago = func.now() - timedelta(days=post.settings.webhook_disable_days, minutes=1)
    post.change(WebhookEndpoint, endpoint, failing_since=ago)

    assert post.fail(claimed[two]) is Settled.DISABLED

    row = post.read_endpoint(endpoint)
    assert (row.enabled, row.disabled_reason) == (False, "failing")
    assert {post.read(delivery).state for delivery in (one, two, three)} == {DeliveryState.FAILED}


def test_one_bad_try_a_week_does_not_disable(post: Post) -> None:
    """Given a failure of last week and none since, when a try fails now, then it is tried again."""
    endpoint = post.endpoint()
    old, new = post.send(endpoint, 2)
    claimed = {found.hold.delivery_id: found.hold for found in post.claim()}
    post.fail(claimed[old], final=True)
    ago = func.now() - timedelta(days=post.settings.webhook_disable_days + 2)
    post.change(WebhookEndpoint, endpoint, failing_since=ago)
    post.change(WebhookDelivery, old, finished_at=ago)
    assert post.fail(claimed[new]) is Settled.RETRIED
    assert post.read_endpoint(endpoint).enabled
