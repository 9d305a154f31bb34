"""The outbox: one message for each job and kind, in the transaction that makes it true, whoever ends the job."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from models.errors import InvalidInputError, PipelineFailedError
from models.jobs import (
    Hold,
    Job,
    Output,
    Published,
    cancel,
    expire_overdue,
    fail,
    publish,
    reap_lost,
    release_canceled,
    release_drained,
)
from models.session import Sessions
from models.settings import Settings
from models.webhooks import (
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from models.webhooks.endpoints import (
    change_endpoint,
    delete_endpoint,
    get_or_create_named,
)
from models.webhooks.outbox import CHANNEL, enqueue
from tests.models.hooks import URL, count, endpoint, owner_of
from tests.models.test_endings import expire_lease
from tests.seeding import Seeder

PROMPT = "a very private cat"
OUTPUT = Output(0, "results/one", "ab" * 32, "image/png", 7, 64, 48, 9)
SETTINGS = Settings()


def messages(sessions: Sessions, job: UUID) -> dict[str, WebhookMessage]:
    """What will be told of a job, by kind."""
    with sessions() as session:
        rows = session.scalars(select(WebhookMessage).where(WebhookMessage.job_id == job)).all()
    found = {row.kind: row for row in rows}
    assert len(found) == len(rows)
    return found


def targets(sessions: Sessions, job: UUID, kind: str) -> list[UUID]:
    """The endpoints that will be told this of a job."""
    query = (
        select(WebhookDelivery.endpoint_id)
        .join(WebhookMessage)
        .where(WebhookMessage.job_id == job, WebhookMessage.kind == kind)
    )
    with sessions() as session:
        return list(session.scalars(query))


def overdue(session: Session, _hold: Hold) -> None:
    session.execute(update(Job).values(deadline_at=Job.created_at))
    expire_overdue(session)


def asked_to_cancel(session: Session, hold: Hold) -> None:
    cancel(session, hold.job_id)
    release_canceled(session, hold)


def drained_while_canceled(session: Session, hold: Hold) -> None:
    cancel(session, hold.job_id)
    release_drained(session, hold)


def failed_while_canceled(session: Session, hold: Hold) -> None:
    cancel(session, hold.job_id)
    fail(session, hold, PipelineFailedError("bug"), SETTINGS, {})


def reaped_while_canceled(session: Session, hold: Hold) -> None:
    cancel(session, hold.job_id)
    session.execute(update(Job).where(Job.state == "running").values(lease_expires_at=Job.created_at))
    reap_lost(session, max_crashes=3)


def reaped_at_the_cap(session: Session, _hold: Hold) -> None:
    session.execute(update(Job).where(Job.state == "running").values(lease_expires_at=Job.created_at))
    reap_lost(session, max_crashes=1)


ENDINGS: dict[str, tuple[str, Callable[[Session, Hold], Any]]] = {
    "publish": ("job.succeeded", lambda session, hold: publish(session, hold, [OUTPUT], {})),
    "fail": ("job.failed", lambda session, hold: fail(session, hold, InvalidInputError("never"), SETTINGS, {})),
    "fail while canceled": ("job.canceled", failed_while_canceled),
    "release": ("job.canceled", asked_to_cancel),
    "drain while canceled": ("job.canceled", drained_while_canceled),
    "reap at the cap": ("job.failed", reaped_at_the_cap),
    "reap while canceled": ("job.canceled", reaped_while_canceled),
}
ENDINGS_BEFORE_A_CLAIM: dict[str, tuple[str, Callable[[Session, Hold], Any]]] = {
    "cancel": ("job.canceled", lambda session, hold: cancel(session, hold.job_id)),
    "expire": ("job.expired", overdue),
}


@pytest.fixture
def job(seed: Seeder) -> UUID:
    """A queued job whose prompt nobody else shall read."""
    return seed.job(seed.client(), seed.checkpoint(), params={"prompt": PROMPT}, tag="order 7")


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_of_a_running_job_is_told_once(seed: Seeder, sessions: Sessions, job: UUID, ending: str) -> None:
    target = endpoint(sessions, owner_of(seed, job))
    (claimed,) = seed.claim()
    kind, end = ENDINGS[ending]
    with sessions.begin() as session:
        end(session, claimed.hold)
    assert set(messages(sessions, job)) == {"job.running", kind}
    assert targets(sessions, job, kind) == [target]
    with sessions.begin() as session:
        end(session, claimed.hold)  # Nothing moves it again, so nothing more is said.
    assert set(messages(sessions, job)) == {"job.running", kind}
    assert targets(sessions, job, kind) == [target]


@pytest.mark.parametrize("ending", ENDINGS_BEFORE_A_CLAIM)
def test_each_ending_of_a_queued_job_is_told_once(seed: Seeder, sessions: Sessions, job: UUID, ending: str) -> None:
    target = endpoint(sessions, owner_of(seed, job))
    kind, end = ENDINGS_BEFORE_A_CLAIM[ending]
    for _ in range(2):
        with sessions.begin() as session:
            end(session, Hold(job, 0, "nobody"))
    assert set(messages(sessions, job)) == {kind}
    assert targets(sessions, job, kind) == [target]


def test_a_message_shows_the_job_and_nothing_of_its_prompt(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    endpoint(sessions, owner_of(seed, job))
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        publish(session, claimed.hold, [OUTPUT], {})
    found = messages(sessions, job)
    body = found["job.succeeded"].payload
    (picture,) = body["data"].pop("artifacts")
    row = seed.read(job)
    assert row.finished_at is not None
    assert body == {
        "type": "job.succeeded",
        "timestamp": row.finished_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": {
            "object": "job",
            "id": str(job),
            "state": "succeeded",
            "task": "text_to_image",
            "checkpoint": "tiny",
            "tag": "order 7",
            "attempt": 1,
            "created_at": row.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "finished_at": row.finished_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "error": None,
            "images": 1,
        },
    }
    assert picture.pop("url") == f"/v1/artifacts/{picture.pop('id')}/content"
    assert picture == {
        "index": 0,
        "media_type": "image/png",
        "width": 64,
        "height": 48,
        "size_bytes": 7,
        "sha256": "ab" * 32,
        "seed": 9,
        "name": None,
    }
    running = found["job.running"].payload["data"]
    assert (running["state"], running["finished_at"], running["artifacts"]) == ("running", None, [])
    assert PROMPT not in str([message.payload for message in found.values()])


def test_a_failure_says_why(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    endpoint(sessions, owner_of(seed, job))
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        fail(session, claimed.hold, InvalidInputError("Too long."), SETTINGS, {})
    data = messages(sessions, job)["job.failed"].payload["data"]
    assert (data["state"], data["error"]) == ("failed", {"code": "invalid_input", "detail": "Too long."})


def test_what_is_rolled_back_is_not_told(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    endpoint(sessions, owner_of(seed, job), events=["job.succeeded"])
    (claimed,) = seed.claim()
    with sessions() as session:
        assert publish(session, claimed.hold, [OUTPUT], {}) is Published.DONE
        assert len(session.scalars(select(WebhookDelivery)).all()) == 1
        session.rollback()
    assert messages(sessions, job) == {}
    assert count(sessions, WebhookDelivery) == 0


def test_nothing_is_written_where_nobody_listens(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    """Given endpoints of another client, of other kinds, switched off or named by no job: no message."""
    client = owner_of(seed, job)
    endpoint(sessions, seed.client())
    endpoint(sessions, client, events=["job.expired"])
    off = endpoint(sessions, client, URL + "/off")
    with sessions.begin() as session:
        change_endpoint(session, session.get_one(WebhookEndpoint, off), enabled=False)
        get_or_create_named(session, client, URL)
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        publish(session, claimed.hold, [OUTPUT], {})
    assert count(sessions, WebhookMessage) == 0


def test_a_retry_is_not_told_and_a_second_attempt_is_not_announced_again(
    seed: Seeder, sessions: Sessions, job: UUID
) -> None:
    endpoint(sessions, owner_of(seed, job))
    (first,) = seed.claim()
    with sessions.begin() as session:
        release_drained(session, first.hold)
    assert set(messages(sessions, job)) == {"job.running"}
    (second,) = seed.claim()
    with sessions.begin() as session:
        publish(session, second.hold, [OUTPUT], {})
    found = messages(sessions, job)
    assert set(found) == {"job.running", "job.succeeded"}
    assert (found["job.running"].payload["data"]["attempt"], found["job.succeeded"].payload["data"]["attempt"]) == (
        1,
        2,
    )


def test_a_named_endpoint_hears_of_the_jobs_that_name_it(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    everything = endpoint(sessions, client, events=["job.succeeded"])
    with sessions.begin() as session:
        named = get_or_create_named(session, client, URL)
        assert get_or_create_named(session, client, URL) == named
        foreign = get_or_create_named(session, seed.client(), URL)
    plain = seed.job(client, checkpoint)
    naming = seed.job(client, checkpoint, webhook_endpoint_id=named)
    picky = seed.job(client, checkpoint, webhook_endpoint_id=named, webhook_events=("job.running",))
    stealing = seed.job(client, checkpoint, webhook_endpoint_id=foreign)
    for claimed in seed.claim():
        with sessions.begin() as session:
            publish(session, claimed.hold, [Output(0, str(claimed.job_id), "ab", "image/png", 7, 64, 64, 7)], {})
    assert targets(sessions, plain, "job.succeeded") == [everything]
    assert sorted(targets(sessions, naming, "job.succeeded")) == sorted([everything, named])
    assert targets(sessions, picky, "job.succeeded") == [everything]
    assert targets(sessions, picky, "job.running") == [named]
    assert targets(sessions, stealing, "job.succeeded") == [everything]


def test_many_jobs_of_many_clients_in_one_call(seed: Seeder, sessions: Sessions) -> None:
    """Given overdue jobs of three clients, two of whom listen, when all expire, then each is told once."""
    checkpoint = seed.checkpoint()
    clients = [seed.client() for _ in range(3)]
    listening = {client: endpoint(sessions, client) for client in clients[:2]}
    jobs = {seed.job(client, checkpoint): client for client in clients for _ in range(4)}
    with sessions.begin() as session:
        session.execute(update(Job).values(deadline_at=Job.created_at))
        assert expire_overdue(session) == 12
    for job, client in jobs.items():
        assert targets(sessions, job, "job.expired") == [listening[client] for _ in range(client in listening)]


def test_two_that_end_a_job_at_once_tell_of_it_once(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    """Given a publish that is not committed, when the sweeper reaps the job meanwhile, then one of them is told."""
    endpoint(sessions, owner_of(seed, job), events=["job.succeeded", "job.failed"])
    (claimed,) = seed.claim()
    expire_lease(sessions, job)

    def reap() -> None:
        with sessions.begin() as session:
            reap_lost(session, max_crashes=1)

    reaping = threading.Thread(target=reap)
    with sessions.begin() as session:
        assert publish(session, claimed.hold, [OUTPUT], {}) is Published.DONE
        reaping.start()
        reaping.join(0.3)
    reaping.join(10)
    assert set(messages(sessions, job)) == {"job.succeeded"}


def test_the_same_message_is_never_written_twice(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    """Given two transactions that tell the same of a job, when both commit, then there is one message."""
    endpoint(sessions, owner_of(seed, job))

    def again() -> None:
        with sessions.begin() as session:
            enqueue(session, [job], "job.running")

    second = threading.Thread(target=again)
    with sessions.begin() as session:
        enqueue(session, [job], "job.running")
        second.start()
        second.join(0.3)
    second.join(10)
    assert set(messages(sessions, job)) == {"job.running"}
    assert count(sessions, WebhookDelivery) == 1


def test_a_publish_does_not_wait_for_an_endpoint_that_is_being_deleted(
    seed: Seeder, sessions: Sessions, job: UUID
) -> None:
    target = endpoint(sessions, owner_of(seed, job))
    (claimed,) = seed.claim()
    with sessions.begin() as deleting:
        deleting.execute(text("DELETE FROM webhook_deliveries"))
        delete_endpoint(deleting, target)
        with sessions.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            assert publish(session, claimed.hold, [OUTPUT], {}) is Published.DONE
    assert count(sessions, WebhookEndpoint) == 0


def test_a_url_is_changed_while_a_publish_refers_to_its_endpoint(seed: Seeder, sessions: Sessions, job: UUID) -> None:
    target = endpoint(sessions, owner_of(seed, job))
    (claimed,) = seed.claim()
    with sessions.begin() as publishing:
        assert publish(publishing, claimed.hold, [OUTPUT], {}) is Published.DONE
        with sessions.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            change_endpoint(session, session.get_one(WebhookEndpoint, target), url=URL + "/new")
    assert targets(sessions, job, "job.succeeded") == [target]


def test_every_verb_announces() -> None:
    """No verb records an event past the outbox; a submit's `job.queued` is told to nobody."""
    import models.jobs

    rooms = Path(models.jobs.__file__).parent.glob("*.py")
    assert [room.name for room in rooms if "events import record" in room.read_text()] == ["announce.py"]


def test_dispatchers_are_woken_when_there_is_something_to_send(
    seed: Seeder, sessions: Sessions, settings: Settings, job: UUID
) -> None:
    url = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        (claimed,) = seed.claim()
        assert list(listener.notifies(timeout=0.2)) == []
        endpoint(sessions, owner_of(seed, job))
        with sessions.begin() as session:
            publish(session, claimed.hold, [OUTPUT], {})
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
