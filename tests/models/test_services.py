"""Storage, tickets and progress against the real services, and what they do when a service is away."""

import socket
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from celery import Celery
from sqlalchemy import text
from sqlalchemy.exc import DataError

from models.errors import NotFoundError, StorageError
from models.progress import Progress, ProgressBoard
from models.queue import WAKE_TASK, TicketSender, clear_ticket, connect_redis, make_celery, send_ticket
from models.session import Sessions
from models.settings import Settings
from models.states import Pool
from models.storage import Storage


@pytest.fixture
def connection(settings: Settings) -> "Iterator[redis.Redis]":
    with connect_redis(settings) as connection:
        yield connection


@pytest.fixture
def celery(settings: Settings) -> Iterator[Celery]:
    app = make_celery(settings, worker=False)
    yield app
    app.close()


@pytest.fixture
def nobody() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_objects_come_back_and_missing_ones_are_said_so(storage: Storage) -> None:
    key = f"results/{uuid4()}/a1/0-x.png"
    storage.put(key, b"\x89PNG", "image/png")
    assert storage.get(key) == b"\x89PNG"
    assert [blob.size_bytes for blob in storage.listing(key)] == [4]
    storage.delete([key, "results/never-there"])
    with pytest.raises(NotFoundError):
        storage.get(key)


def test_wrong_keys_are_refused_by_the_service(settings: Settings) -> None:
    from pydantic import SecretStr

    wrong = settings.model_copy(update={"s3_secret_access_key": SecretStr("not-the-secret")})
    with pytest.raises(StorageError):
        Storage(wrong).put("results/x", b"", "image/png")


def test_a_dead_storage_is_our_own_error(settings: Settings, nobody: int) -> None:
    dead = settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{nobody}"})
    with pytest.raises(StorageError):
        Storage(dead).get("results/x")


def test_one_ticket_waits_per_pool_until_a_worker_clears_it(celery: Celery, connection: "redis.Redis") -> None:
    assert send_ticket(celery, connection, Pool.GPU, uuid4())
    assert not send_ticket(celery, connection, Pool.GPU, uuid4())
    assert send_ticket(celery, connection, Pool.CPU)
    clear_ticket(connection, Pool.GPU)
    assert send_ticket(celery, connection, Pool.GPU)
    assert (connection.llen("gpu"), connection.llen("cpu")) == (2, 1)


def test_a_ticket_carries_the_pool_and_the_job_and_nothing_else(celery: Celery, connection: "redis.Redis") -> None:
    job = uuid4()
    send_ticket(celery, connection, Pool.GPU, job)
    with celery.connection_for_read() as broker:
        message = broker.SimpleQueue("gpu").get(timeout=5)
        message.ack()
    assert message.headers["task"] == WAKE_TASK
    assert message.payload[0] == ["gpu", str(job)]
    assert message.payload[1] == {}


def test_a_dead_broker_costs_the_sender_nothing_but_the_ticket(settings: Settings, nobody: int) -> None:
    sender = TicketSender(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{nobody}/0"}))
    sender.send(Pool.GPU, uuid4())
    for _ in range(200):
        if sender.failures:
            break
        import time

        time.sleep(0.05)
    assert sender.failures == 1


def test_progress_and_previews_are_read_back_and_absent_when_redis_is_away(
    settings: Settings, connection: "redis.Redis", nobody: int
) -> None:
    job, other = uuid4(), uuid4()
    board = ProgressBoard(connection)
    board.put({job: Progress(1, "running", 3, 30, preview=1)}, {job: b"png"})
    assert board.get([other, job]) == {job: Progress(1, "running", 3, 30, preview=1)}
    assert board.preview(job) == b"png"
    dead = connect_redis(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{nobody}/0"}))
    away = ProgressBoard(dead)
    away.put({job: Progress(1, "running", 4, 30)})
    assert away.get([job]) == {}
    assert away.preview(job) is None


def test_an_error_of_postgres_does_not_quote_what_was_sent(sessions: Sessions) -> None:
    with sessions() as session, pytest.raises(DataError) as caught:
        session.execute(text("SELECT 1 / 0 WHERE CAST(:prompt AS text) IS NOT NULL"), {"prompt": "a secret cat"})
    assert "secret" not in str(caught.value)
