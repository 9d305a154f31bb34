"""The books of the soak themselves: in order for a job that ended well, and each promise missed when it is broken."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from models.artifacts import Artifact, result_key
from models.jobs import Output, publish
from models.params import OutputFormat
from models.session import Sessions
from models.storage import Storage
from models.webhooks.endpoints import create_endpoint
from tests.faults.accounting import check_books, check_objects, check_outbox, check_told, read_books
from tests.faults.orders import Order
from tests.faults.receiver import Inbox
from tests.faults.submitters import Ledger
from tests.seeding import Seeder
from tests.worker.slow import pixels_of
from worker.courier.encode import encode
from worker.courier.frames import PictureHead

ORDER = Order(0, 0, 0.0, {"prompt": "a cat", "width": 32, "height": 32, "num_inference_steps": 1, "seed": 5})


@pytest.fixture
def job(seed: Seeder, sessions: Sessions, storage: Storage) -> UUID:
    """A job of a client with a webhook, published as a courier does."""
    client, checkpoint = seed.client(), seed.checkpoint()
    with sessions.begin() as session:
        create_endpoint(session, client, "https://example.com/hook")
    seed.job(client, checkpoint, params=ORDER.params)
    (claimed,) = seed.claim()
    pixels = pixels_of(ORDER.wanted(), 0)
    picture = encode(PictureHead(0, 5, 32, 32), pixels.data.cast("B"), OutputFormat.PNG)
    key = result_key(claimed.job_id, 1, 0, picture.sha256, "png")
    storage.put(key, picture.body, picture.media_type)
    output = Output(0, key, picture.sha256, picture.media_type, len(picture.body), 32, 32, 5)
    with sessions.begin() as session:
        publish(session, claimed.hold, [output], {})
    return claimed.job_id


@pytest.fixture
def broken(job: UUID, sessions: Sessions, storage: Storage) -> Callable[[], set[str]]:
    """The promises that the books of the job miss."""

    def read() -> set[str]:
        books = read_books(sessions, [ORDER], Ledger(jobs={0: job}), max_crashes=3)
        check_books(books)
        check_outbox(books)
        check_objects(books, storage)
        return {one.promise for one in books.broken}

    return read


def test_the_books_of_a_job_that_ended_well_are_in_order(broken: Callable[[], set[str]]) -> None:
    assert broken() == set()


@pytest.mark.parametrize(
    ("statement", "promise"),
    [
        ("DELETE FROM jobs", "no accepted job is lost"),
        ("DELETE FROM artifacts", "one set of artifacts"),
        ("UPDATE artifacts SET attempt = 2", "artifacts of the attempt that succeeded"),
        ("UPDATE artifacts SET key = key || 'x'", "every object is what was published"),
        ("UPDATE artifacts SET sha256 = 'x'", "every object is what was published"),
        ("UPDATE attempts SET outcome = 'lost', measures = '{\"alone\": true}'", "published once"),
        ("UPDATE attempts SET outcome = 'running', finished_at = NULL", "every attempt has an outcome"),
        ("UPDATE attempts SET number = 2", "attempts append"),
        ("UPDATE jobs SET crash_count = 1", "only lone crashes count"),
        ("DELETE FROM job_events WHERE kind = 'job.succeeded'", "one terminal event"),
        ("UPDATE job_events SET kind = 'job.failed' WHERE kind = 'job.queued'", "one terminal event"),
        ("DELETE FROM job_events WHERE kind = 'job.running'", "one event for each attempt"),
        ("UPDATE clients SET live_jobs = 1", "the quota is given back"),
        ("UPDATE jobs SET state = 'queued', result = NULL, finished_at = NULL", "every job ends"),
        ("UPDATE jobs SET state = 'canceled', result = NULL", "only a canceled job is canceled"),
        (
            "UPDATE jobs SET state = 'failed', result = NULL, error_code = 'pipeline_error'",
            "nothing fails for another reason",
        ),
        (
            "UPDATE jobs SET state = 'failed', result = NULL, error_code = 'worker_lost'",
            "exactly as many crashes as allowed",
        ),
        (
            """UPDATE jobs SET state = 'running', result = NULL, finished_at = NULL, lease_owner = 'w',
               lease_expires_at = now()""",
            "no lease is left",
        ),
        ("DELETE FROM webhook_messages", "one outbox row per job"),
        ("DELETE FROM webhook_deliveries", "one delivery per message"),
    ],
)
def test_a_broken_promise_is_named(
    broken: Callable[[], set[str]], sessions: Sessions, statement: str, promise: str
) -> None:
    with sessions.begin() as session:
        session.execute(text(statement))
    assert promise in broken()


def test_other_pixels_under_the_right_hash_are_seen(
    job: UUID, broken: Callable[[], set[str]], sessions: Sessions, storage: Storage
) -> None:
    """Given an object that is whole but was made of another seed."""
    other = pixels_of(ORDER.wanted().model_copy(update={"seed": 6}), 0)
    picture = encode(PictureHead(0, 5, 32, 32), other.data.cast("B"), OutputFormat.PNG)
    key = result_key(job, 1, 0, picture.sha256, "png")
    storage.put(key, picture.body, picture.media_type)
    with sessions.begin() as session:
        session.query(Artifact).update({"key": key, "sha256": picture.sha256})
    assert broken() == {"every object is what was published"}


def test_a_job_that_nobody_ordered_is_seen(job: UUID, sessions: Sessions) -> None:
    books = read_books(sessions, [ORDER], Ledger(), max_crashes=3)
    check_books(books)
    assert {(one.promise, one.job_id) for one in books.broken} == {("no job without a request", job)}
    assert str(job) in books.story(job)


def test_poison_that_survives_is_seen(job: UUID, sessions: Sessions) -> None:
    poison = Order(0, 0, 0.0, ORDER.params, poison=True)
    books = read_books(sessions, [poison], Ledger(jobs={0: job}), max_crashes=3)
    check_books(books)
    assert {one.promise for one in books.broken} == {"poison fails"}


def test_what_targets_were_told_is_compared(job: UUID, sessions: Sessions) -> None:
    """Given a delivery that is marked as done, and a forged message, when no target was told, both are seen."""
    with sessions.begin() as session:
        session.execute(text("UPDATE webhook_deliveries SET state = 'delivered', finished_at = now()"))
    inbox = Inbox("whsec_" + "a" * 44)
    assert not inbox.take({"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,x"}, b"{}")
    books = read_books(sessions, [ORDER], Ledger(jobs={0: job}), max_crashes=3)
    check_told(books, {"client-0": inbox})
    assert {one.promise for one in books.broken} == {
        "every target was told once of each job",
        "every signature is valid",
    }
