"""A machine whose clock is off, and its requests to S3. With real processes: `tests.faults.test_clocks`."""

from datetime import UTC, datetime, timedelta, tzinfo
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from models.errors import StorageError
from models.settings import Settings
from models.storage import Storage


def bend(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    class WrongClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr("models.s3_clock.datetime", WrongClock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: WrongClock.now(UTC))


@pytest.mark.parametrize("hours", [2, -2])
def test_each_kind_of_request_is_signed_again_by_s3s_clock(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Given a wrong clock, when the first request is refused, then it is sent again, and nobody hears of it."""
    bend(monkeypatch, hours)
    key = f"uploads/{uuid4()}.png"

    Storage(settings).ping()
    Storage(settings).put(key, b"body", "image/png")
    assert Storage(settings).get(key) == b"body"
    assert [blob.key for blob in Storage(settings).listing(key)] == [key]
    Storage(settings).delete([key])
    assert not list(Storage(settings).listing(key))


@pytest.mark.parametrize("hours", [2, -2])
def test_a_link_is_signed_by_what_was_learned(settings: Settings, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    storage = Storage(settings)
    key = f"uploads/{uuid4()}.png"
    bend(monkeypatch, hours)
    storage.put(key, b"body", "image/png")

    link = storage.presigned_get(key, media_type="image/png", filename="a.png")

    assert httpx.get(link).content == b"body"


def test_another_refusal_is_an_error_and_teaches_nothing(settings: Settings) -> None:
    """Given keys that S3 does not know, then it refuses for good: the clocks agree."""
    storage = Storage(settings.model_copy(update={"s3_secret_access_key": SecretStr("another")}))

    with pytest.raises(StorageError):
        storage.put(f"uploads/{uuid4()}.png", b"body", "image/png")
