"""Shelves: the newest whole state comes back, whoever saved it, and no more than two are kept."""

from dataclasses import replace
from uuid import uuid4

import pytest

from models.artifacts import training_key, training_prefix
from models.errors import TransientError
from models.jobs import Hold
from models.settings import Settings
from models.storage import Storage
from worker.shelf import JobShelf


@pytest.fixture
def hold() -> Hold:
    return Hold(uuid4(), 1, "w1")


def keys(storage: Storage, hold: Hold) -> list[str]:
    return sorted(blob.key for blob in storage.listing(training_prefix(hold.job_id)))


def test_an_empty_shelf_gives_nothing(storage: Storage, hold: Hold) -> None:
    assert JobShelf(storage, hold).load() is None


def test_the_next_attempt_finds_the_newest_of_two(storage: Storage, hold: Hold) -> None:
    shelf = JobShelf(storage, hold)
    for step in (9, 10, 100):
        assert shelf.save(step, b"state %d" % step)
    assert [int(key.split("/")[-1].split("-")[0]) for key in keys(storage, hold)] == [10, 100]
    assert JobShelf(storage, replace(hold, attempt=2)).load() == b"state 100"
    assert JobShelf(storage, Hold(uuid4(), 1, "w1")).load() is None


def test_a_state_that_is_not_whole_is_passed_over(storage: Storage, hold: Hold) -> None:
    """Given a newest state whose bytes are not those that its name tells of, when it is read, the one before counts."""
    JobShelf(storage, hold).save(5, b"whole")
    storage.put(training_key(hold.job_id, 1, 6, "0" * 64), b"half", "application/octet-stream")
    assert JobShelf(storage, hold).load() == b"whole"


def test_storage_that_is_away_costs_a_save_and_not_the_run(settings: Settings, hold: Hold) -> None:
    away = JobShelf(Storage(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})), hold)
    assert not away.save(1, b"state")
    with pytest.raises(TransientError):
        away.load()
