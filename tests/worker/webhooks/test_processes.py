"""Real dispatchers killed and frozen at the worst moments: at least once, under one id, with a whole log."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from standardwebhooks import Webhook

from models.jobs import Output, publish
from models.session import Sessions
from models.states import JobState
from models.webhooks import DeliveryState, WebhookDelivery, WebhookMessage
from models.webhooks.claim import LOST
from models.webhooks.endpoints import create_endpoint
from tests.seeding import Seeder
from tests.worker.broken_line import Line
from tests.worker.conftest import Crew, until
from tests.worker.webhooks.conftest import Outbox
from tests.worker.webhooks.target import hang, status, target

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DELIVERED = DeliveryState.DELIVERED
SHORT = {
    "SAFELIGHT_WEBHOOK_ALLOW_PRIVATE": "true",
    "SAFELIGHT_WEBHOOK_TIMEOUT_SECONDS": "1",
    "SAFELIGHT_WEBHOOK_RETRY_SECONDS": "[0.05, 0.1, 0.1]",
}

Process = subprocess.Popen[bytes]


def dispatcher(crew: Crew, **environment: str) -> Process:
    return crew.start("-m", "worker.webhooks", **{**SHORT, **environment})


def at_point(crew: Crew, tmp_path: Path, point: str, action: str) -> Process:
    """A dispatcher that does this at the failpoint, the first time that it gets there."""
    armed = {"SAFELIGHT_FAILPOINTS": f"{point}=once-{action}", "SAFELIGHT_FAILPOINT_FOLDER": str(tmp_path)}
    return dispatcher(crew, **armed)


def freeze_at(process: Process, tmp_path: Path, point: str) -> None:
    """SIGSTOP while it waits at the failpoint; woken, it goes on from exactly there."""
    until(lambda: list(tmp_path.glob(f"{point}.*.reached")), what=point)
    process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, what="the freezing")
    (tmp_path / f"{point}.go").touch()


def wake_and_end(process: Process) -> None:
    """SIGCONT; once SIGTERM has ended it in order, whatever it had in hand is done."""
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_killed_between_claim_and_send_it_is_sent_by_another(crew: Crew, outbox: Outbox, tmp_path: Path) -> None:
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    assert at_point(crew, tmp_path, "before_delivery", "kill").wait(30) == -signal.SIGKILL
    assert (target.received, outbox.log(delivery)) == ([], [])

    dispatcher(crew)

    until(lambda: outbox.states([delivery]) == [DELIVERED])
    assert outbox.log(delivery) == [(1, None, LOST), (2, 200, None)]
    assert len(target.received) == 1


def test_killed_after_the_answer_it_is_sent_again_under_the_same_id(crew: Crew, outbox: Outbox, tmp_path: Path) -> None:
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    assert at_point(crew, tmp_path, "after_delivery", "kill").wait(30) == -signal.SIGKILL
    assert len(target.received) == 1

    dispatcher(crew)

    until(lambda: outbox.states([delivery]) == [DELIVERED])
    once, again = target.received
    assert (once.id, once.body) == (again.id, again.body)
    assert outbox.log(delivery) == [(1, None, LOST), (2, 200, None)]


def test_a_zombie_that_has_not_sent_does_not_send_any_more(crew: Crew, outbox: Outbox, tmp_path: Path) -> None:
    """Given a dispatcher frozen after its claim, when it wakes after another has delivered, then it lets go."""
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    zombie = at_point(crew, tmp_path, "before_delivery", "wait")
    freeze_at(zombie, tmp_path, "before_delivery")
    dispatcher(crew)
    until(lambda: outbox.states([delivery]) == [DELIVERED])

    wake_and_end(zombie)

    assert len(target.received) == 1
    assert outbox.log(delivery) == [(1, None, LOST), (2, 200, None)]
    assert outbox.states([delivery]) == [DELIVERED]


@pytest.mark.parametrize(("first", "second"), [(200, 200), (500, 200), (410, 200), (200, 500)])
def test_a_zombie_that_has_its_answer_cannot_write_it(
    crew: Crew, outbox: Outbox, tmp_path: Path, first: int, second: int
) -> None:
    """Given a dispatcher frozen with an answer in hand, when another has made the next try, only that counts."""
    target, endpoint = outbox.target(status(first), status(second))
    (delivery,) = outbox.send(endpoint)
    zombie = at_point(crew, tmp_path, "after_delivery", "wait")
    freeze_at(zombie, tmp_path, "after_delivery")
    late = {"SAFELIGHT_WEBHOOK_RETRY_SECONDS": "[3600]"}
    dispatcher(crew, **late)
    until(lambda: len(outbox.log(delivery)) == 2)
    before = outbox.read(delivery)

    wake_and_end(zombie)

    error = None if second == 200 else "status"
    assert outbox.log(delivery) == [(1, None, LOST), (2, second, error)]
    after = outbox.read(delivery)
    assert (after.state, after.tries, after.available_at) == (before.state, before.tries, before.available_at)
    assert outbox.endpoint(endpoint).enabled
    assert len({got.id for got in target.received}) == 1
    assert len(target.received) == 2


def test_a_zombie_in_the_middle_of_its_next_try_changes_nothing(crew: Crew, outbox: Outbox, tmp_path: Path) -> None:
    """Given a zombie with an answer, when it wakes while another's try hangs, then that one still owns the delivery."""
    target, endpoint = outbox.target(status(200), hang)
    (delivery,) = outbox.send(endpoint)
    zombie = at_point(crew, tmp_path, "after_delivery", "wait")
    freeze_at(zombie, tmp_path, "after_delivery")
    dispatcher(crew, SAFELIGHT_WEBHOOK_TIMEOUT_SECONDS="60")
    until(lambda: len(target.received) == 2)

    wake_and_end(zombie)

    row = outbox.read(delivery)
    assert (row.state, row.tries, row.lease_owner is not None) == (DeliveryState.PENDING, 2, True)
    assert outbox.log(delivery) == [(1, None, LOST)]
    target.released.set()


def test_an_outcome_waits_for_postgres(
    crew: Crew, outbox: Outbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Given Postgres away when the target has answered, when it is back, then the outcome is written, once."""
    database = make_url(crew.settings.database_url)
    assert database.port is not None
    line = Line(database.port)
    target, endpoint = outbox.target()
    (delivery,) = outbox.send(endpoint)
    url = database.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
    armed = {"SAFELIGHT_FAILPOINTS": "after_delivery=wait", "SAFELIGHT_FAILPOINT_FOLDER": str(tmp_path)}
    dispatcher(crew, SAFELIGHT_DATABASE_URL=url, SAFELIGHT_WEBHOOK_TIMEOUT_SECONDS="20", **armed)
    until(lambda: list(tmp_path.glob("*.reached")))
    line.cut()
    (tmp_path / "after_delivery.go").touch()
    until(lambda: "an outcome waits for Postgres" in capfd.readouterr().err)

    line.mend()

    until(lambda: outbox.states([delivery]) == [DELIVERED])
    line.cut()
    assert outbox.log(delivery) == [(1, 200, None)]
    assert len(target.received) == 1


def test_sigterm_ends_it_in_order(crew: Crew, outbox: Outbox) -> None:
    def slow(handler: Any) -> None:
        time.sleep(1.0)
        status(200)(handler)

    target, endpoint = outbox.target(slow)
    (delivery,) = outbox.send(endpoint)
    running = dispatcher(crew, SAFELIGHT_WEBHOOK_TIMEOUT_SECONDS="30")
    until(lambda: target.received)
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0
    assert outbox.states([delivery]) == [DELIVERED]
    assert outbox.log(delivery) == [(1, 200, None)]


def test_a_frozen_dispatcher_delays_no_job(crew: Crew, seed: Seeder, sessions: Sessions, tmp_path: Path) -> None:
    """Given a dispatcher frozen with leases in hand, when jobs are published, then they are; later they are told of."""
    client, checkpoint = seed.client(), seed.checkpoint()
    with target() as hook:
        with sessions.begin() as session:
            secret = create_endpoint(session, client, hook.url).secret
        jobs = [seed.job(client, checkpoint, params={"prompt": "a canary sings"}) for _ in range(3)]
        frozen = at_point(crew, tmp_path, "before_delivery", "wait")
        publish_all(seed, sessions, limit=1)
        freeze_at(frozen, tmp_path, "before_delivery")

        publish_all(seed, sessions, limit=2)

        assert [seed.read(job).state for job in jobs] == [JobState.SUCCEEDED] * 3
        frozen.send_signal(signal.SIGCONT)
        until(lambda: len(hook.received) == 3)
        bodies = [Webhook(secret).verify(got.body, got.plain_headers) for got in hook.received]
    assert {body["data"]["id"] for body in bodies} == {str(job) for job in jobs}
    assert {body["type"] for body in bodies} == {"job.succeeded"}
    assert "canary" not in json.dumps(bodies)


def publish_all(seed: Seeder, sessions: Sessions, limit: int) -> None:
    for one in seed.claim(max_images=limit):
        output = Output(0, f"results/{one.job_id}/a1/0-x.png", "x", "image/png", 1, 1, 1, 1)
        with sessions.begin() as session:
            publish(session, one.hold, [output], {})


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (Debian: apt-get install libfaketime)")
@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_a_machine_whose_clock_is_wrong_signs_with_the_right_time(crew: Crew, outbox: Outbox, offset: str) -> None:
    """Given a dispatcher two hours off, when it sends, then receivers, who allow five minutes, accept it."""
    target, endpoint = outbox.target(status(500), status(200))
    (delivery,) = outbox.send(endpoint)
    dispatcher(crew, LD_PRELOAD=str(FAKETIME), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1")
    until(lambda: outbox.states([delivery]) == [DELIVERED])
    for got in target.received:
        Webhook(outbox.secrets[endpoint]).verify(got.body, got.plain_headers)
    assert outbox.log(delivery) == [(1, 500, "status"), (2, 200, None)]


@pytest.mark.slow
def test_killed_at_random_every_message_arrives_and_the_log_has_every_try(
    crew: Crew, outbox: Outbox, sessions: Sessions
) -> None:
    """Given two dispatchers that are killed again and again, then each message arrives, and its log has no gap."""
    targets = [outbox.target(status(200), status(500), status(200)) for _ in range(3)]
    deliveries = [delivery for _, endpoint in targets for delivery in outbox.send(endpoint, 60)]
    generator = random.Random(7)
    armed = {"SAFELIGHT_FAILPOINTS": "before_delivery=kill@0.03,after_delivery=kill@0.03"}
    running = [dispatcher(crew, **armed), dispatcher(crew, **armed)]
    deaths = 0
    end = time.monotonic() + 150
    while left(sessions) and time.monotonic() < end:
        time.sleep(generator.uniform(0.05, 0.2))
        for place, process in enumerate(running):
            if process.poll() is not None:
                assert process.returncode == -signal.SIGKILL
                deaths += 1
                running[place] = dispatcher(crew, **(armed if deaths < 12 else {}))

    assert set(outbox.states(deliveries)) == {DELIVERED}
    assert deaths >= 3
    received = [got for hook, _ in targets for got in hook.received]
    assert {got.id for got in received} == {f"msg_{message.hex}" for message in message_ids(sessions)}
    for delivery in deliveries:
        log = outbox.log(delivery)
        assert [number for number, _, _ in log] == list(range(1, outbox.read(delivery).tries + 1))
        assert [entry for entry in log if entry[1] == 200] == log[-1:]
    bodies: dict[str, set[bytes]] = {}
    for got in received:
        bodies.setdefault(got.id, set()).add(got.body)
    assert {len(said) for said in bodies.values()} == {1}


def left(sessions: Sessions) -> int:
    """Pending deliveries."""
    with sessions() as session:
        return session.scalar(select(func.count()).where(WebhookDelivery.state == DeliveryState.PENDING)) or 0


def message_ids(sessions: Sessions) -> list[UUID]:
    with sessions() as session:
        return list(session.scalars(select(WebhookMessage.id)))
