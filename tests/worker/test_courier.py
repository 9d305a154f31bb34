"""The courier: frames, files, the signed put, and publishing under the guard."""

import errno
import fcntl
import hashlib
import io
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import func, select

from models.artifacts import Artifact
from models.errors import StorageError
from models.events import JobEvent
from models.jobs import CheckpointCard, Hold
from models.params import OutputFormat
from models.session import Sessions
from models.settings import Settings
from models.states import JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import until
from worker.courier.client import CourierClient
from worker.courier.encode import encode
from worker.courier.frames import Delivery, Drop, Parcel, PictureHead, Receipt, read_frame, write_frame
from worker.courier.put import SignedPut
from worker.courier.service import Service

HOLD = Hold(uuid4(), 1, "w1")


def parcel(hold: Hold = HOLD, *, images: int = 1, side: int = 8, form: OutputFormat = OutputFormat.PNG) -> Parcel:
    heads = tuple(PictureHead(index, 7, side, side) for index in range(images))
    return Parcel(hold, form, heads, {"device": "cpu"})


def pixels(images: int = 1, side: int = 8) -> tuple[memoryview, ...]:
    noise = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), np.uint8)
    return tuple(picture.data.cast("B") for picture in noise)


def test_a_frame_arrives_as_it_was_sent_and_a_torn_one_is_no_frame() -> None:
    stream = io.BytesIO()
    parts = pixels(2)
    write_frame(stream, parcel(images=2), parts)  # type: ignore[arg-type]
    write_frame(stream, Drop(HOLD))  # type: ignore[arg-type]
    whole = stream.getvalue()

    reader = io.BytesIO(whole)
    first, second = read_frame(reader), read_frame(reader)
    assert first is not None
    assert second is not None
    assert first[0] == parcel(images=2)
    assert bytes(first[1]) == b"".join(bytes(part) for part in parts)
    assert second[0] == Drop(HOLD)
    assert read_frame(reader) is None
    for length in (3, 20, 200, 500):
        assert read_frame(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize("form", [OutputFormat.PNG, OutputFormat.WEBP])
def test_lossless_files_keep_every_pixel_and_carry_nothing_else(form: OutputFormat) -> None:
    (raw,) = pixels(side=32)
    picture = encode(PictureHead(0, 7, 32, 32), raw, form)
    decoded = Image.open(io.BytesIO(picture.body))
    assert decoded.tobytes() == bytes(raw)
    assert decoded.info.keys() <= {"loop", "background", "timestamp", "duration"}
    assert picture.media_type == f"image/{form.value}"


@pytest.fixture
def pictures() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def put(settings: Settings) -> Iterator[SignedPut]:
    put = SignedPut(settings)
    yield put
    put.close()


@pytest.fixture
def service(settings: Settings, sessions: Sessions, put: SignedPut, pictures: ThreadPoolExecutor) -> Service:
    return Service(settings, sessions, put, pictures)


def claimed(seed: Seeder, checkpoint: CheckpointCard, **params: Any) -> Hold:
    seed.job(seed.client(), checkpoint, params={"prompt": "a cat", **params})
    (job,) = seed.claim()
    return job.hold


def deliver(service: Service, hold: Hold, images: int = 1, dropped: threading.Event | None = None) -> Delivery:
    body = memoryview(b"".join(bytes(part) for part in pixels(images)))
    return service.deliver(parcel(hold, images=images), body, dropped or threading.Event())


def test_a_parcel_is_stored_and_published(seed: Seeder, service: Service, sessions: Sessions, storage: Storage) -> None:
    hold = claimed(seed, seed.checkpoint(), num_images=2)

    assert deliver(service, hold, images=2) is Delivery.PUBLISHED

    assert seed.read(hold.job_id).state is JobState.SUCCEEDED
    with sessions() as session:
        found = session.scalars(select(Artifact).order_by(Artifact.index)).all()
    assert [artifact.index for artifact in found] == [0, 1]
    for artifact in found:
        assert len(storage.get(artifact.key)) == artifact.size_bytes
        assert artifact.key == f"results/{hold.job_id}/a1/{artifact.index}-{artifact.sha256}.png"


def test_sent_twice_it_is_published_once(seed: Seeder, service: Service, sessions: Sessions) -> None:
    """Given a courier that died between commit and receipt, when another repeats the parcel, then nothing doubles."""
    hold = claimed(seed, seed.checkpoint())
    assert deliver(service, hold) is Delivery.PUBLISHED
    assert deliver(service, hold) is Delivery.PUBLISHED
    with sessions() as session:
        assert session.scalar(select(func.count()).where(JobEvent.kind == "job.succeeded")) == 1


def test_a_fenced_parcel_changes_nothing(seed: Seeder, service: Service) -> None:
    hold = claimed(seed, seed.checkpoint())
    assert deliver(service, replace(hold, attempt=0)) is Delivery.FENCED
    assert deliver(service, replace(hold, owner="another")) is Delivery.FENCED
    assert seed.read(hold.job_id).state is JobState.RUNNING


def test_storage_in_trouble_is_tried_again(seed: Seeder, service: Service) -> None:
    troubles = iter([StorageError("away"), StorageError("away")])
    real = service.put

    def put(*given: Any) -> None:
        if (trouble := next(troubles, None)) is not None:
            raise trouble
        real(*given)

    hold = claimed(seed, seed.checkpoint())
    assert deliver(replace(service, put=put), hold) is Delivery.PUBLISHED


def test_storage_that_stays_away_costs_no_error_of_the_job(seed: Seeder, service: Service) -> None:
    """Given S3 down beyond the budget, when the courier gives up, then the job is queued again as infrastructure."""

    def put(*_: Any) -> None:
        raise StorageError("away")

    hold = claimed(seed, seed.checkpoint())
    impatient = service.settings.model_copy(update={"store_budget_seconds": 0.0})
    assert deliver(replace(service, put=put, settings=impatient), hold) is Delivery.FAILED
    job = seed.read(hold.job_id)
    assert (job.state, job.error_count) == (JobState.QUEUED, 0)
    assert job.infrastructure_since is not None


def test_an_unwanted_parcel_is_dropped(seed: Seeder, service: Service) -> None:
    dropped = threading.Event()
    dropped.set()
    hold = claimed(seed, seed.checkpoint())
    assert deliver(service, hold, dropped=dropped) is Delivery.DROPPED
    assert seed.read(hold.job_id).state is JobState.RUNNING


def test_a_wrong_signature_is_refused_and_a_closed_connection_is_opened_again(
    settings: Settings, put: SignedPut, storage: Storage
) -> None:
    import socket

    digest = hashlib.sha256(b"body").hexdigest()
    key = f"results/odd name ü/{uuid4()}+&=.png"
    put(key, b"body", "image/png", digest)
    put._local.connection.sock.shutdown(socket.SHUT_RDWR)
    put(key + "2", b"body", "image/png", digest)
    assert storage.get(key) == storage.get(key + "2") == b"body"
    wrong = settings.model_copy(update={"s3_secret_access_key": SecretStr("wrong")})
    with pytest.raises(StorageError, match="403"):
        SignedPut(wrong)(key, b"body", "image/png", digest)
    nowhere = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(StorageError):
        SignedPut(nowhere)(key, b"body", "image/png", digest)


@pytest.mark.parametrize("hours", [2, -2])
def test_a_wrong_clock_is_corrected_by_s3s(
    settings: Settings, put: SignedPut, storage: Storage, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Given a machine whose clock is off, when S3 refuses its signature, then the next one goes by S3's clock."""

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr("worker.courier.put.datetime", WrongClock)
    digest = hashlib.sha256(b"body").hexdigest()
    key = f"results/{uuid4()}.png"
    with pytest.raises(StorageError, match="403"):
        put(key, b"body", "image/png", digest)
    put(key, b"body", "image/png", digest)
    assert storage.get(key) == b"body"


ECHO = """
import sys, time
from worker.courier.frames import *
while frame := read_frame(sys.stdin.buffer):
    {}
    sys.stdout.buffer.write(write_receipt(Receipt(frame[0].hold, Delivery.PUBLISHED)))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def receipts() -> list[Receipt]:
    return []


def client_of(receipts: list[Receipt], code: str, max_images: int = 8) -> CourierClient:
    import sys

    client = CourierClient(receipts.append, max_images, (sys.executable, "-c", ECHO.format(code)))
    client.start()
    return client


def test_the_client_holds_back_when_too_much_is_under_way(receipts: list[Receipt]) -> None:
    client = client_of(receipts, "time.sleep(0.3)", max_images=1)
    holds = [replace(HOLD, attempt=number) for number in range(3)]
    assert client.hand_over(parcel(holds[0]), pixels(), lambda: False)
    assert not client.hand_over(parcel(holds[1]), pixels(), lambda: True)
    assert client.hand_over(parcel(holds[2]), pixels(), lambda: False)
    assert client.flush(20)
    client.close(5)
    assert [receipt.hold.attempt for receipt in receipts] == [0, 2]


def test_a_kernel_that_grants_no_larger_pipe_does_not_matter(
    receipts: list[Receipt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a user who has used up what the kernel grants for pipes, then parcels still go out."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "pipe-user-pages-soft")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    client = client_of(receipts, "pass")
    assert client.hand_over(parcel(), pixels(), lambda: False)
    assert client.flush(20)
    client.close(5)


def test_a_courier_that_cannot_be_started_is_tried_again(
    receipts: list[Receipt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no process left for this user, when there is one again, then the parcel goes out."""
    failures = iter([OSError(errno.EAGAIN, "no process"), OSError(errno.ENOMEM, "no memory")])
    popen = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> Any:
        if (error := next(failures, None)) is not None:
            raise error
        return popen(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", start)
    client = client_of(receipts, "pass")
    assert client.hand_over(parcel(), pixels(), lambda: False)
    assert client.flush(20)
    client.close(5)


def test_a_parcel_that_kills_couriers_is_given_up(receipts: list[Receipt]) -> None:
    client = client_of(receipts, "sys.exit(3)")
    client.hand_over(parcel(), pixels(), lambda: False)
    until(lambda: receipts, what="the end of the parcel")
    client.close(5)
    assert receipts == [Receipt(HOLD, Delivery.CRASHED)]
