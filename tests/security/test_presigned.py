"""Signed URLs against the real S3: a few minutes, one object, GET, and as a picture or as nothing that runs."""

import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.helpers import eventually, succeed
from tests.seeding import Seeder

KEY = "results/presigned/a1/0-x.png"


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as client:
        yield client


@pytest.fixture
def stored(storage: Storage) -> str:
    """An object, and a URL of it."""
    storage.put(KEY, b"picture", "image/png")
    return storage.presigned_get(KEY, media_type="image/png", filename="x.png")


def test_a_result_is_signed_for_ten_minutes(
    caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage, http: httpx.Client
) -> None:
    job = caller.submit()
    succeed(seed, sessions, storage)
    answer = caller.get(job["urls"]["result"])
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["600"]
    assert answer.headers["Cache-Control"] == "no-store"
    fetched = http.get(answer.headers["Location"])
    assert (fetched.status_code, fetched.headers["Content-Type"]) == (200, "image/png")
    assert fetched.headers["Content-Disposition"].startswith("inline; filename=")
    assert fetched.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "image/png; x=y"])
def test_what_could_run_is_saved_and_not_shown(storage: Storage, http: httpx.Client, media_type: str) -> None:
    storage.put(KEY, b"<script>alert(1)</script>", media_type)
    fetched = http.get(storage.presigned_get(KEY, media_type=media_type, filename="x.bin"))
    assert fetched.headers["Content-Type"] == "application/octet-stream"
    assert fetched.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Expires=600", "X-Amz-Expires=60000"),
        ("image%2Fpng", "text%2Fhtml"),
        ("inline", "attachment"),
        ("a1/0-x.png", "a1/0-y.png"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ],
)
def test_a_url_that_was_changed_is_refused(
    storage: Storage, stored: str, http: httpx.Client, old: str, new: str
) -> None:
    storage.put(KEY.replace("0-x", "0-y"), b"another", "image/png")
    assert old in stored
    assert http.get(stored).content == b"picture"
    assert http.get(stored.replace(old, new)).status_code == 403


def test_a_url_reads_and_never_writes(storage: Storage, stored: str, http: httpx.Client) -> None:
    assert http.put(stored, content=b"mine").status_code == 403
    assert http.delete(stored).status_code == 403
    assert http.get(stored.split("?", maxsplit=1)[0]).status_code == 403
    assert storage.get(KEY) == b"picture"


def test_a_url_ends(settings: Settings, stored: str, http: httpx.Client) -> None:
    short = Storage(settings.model_copy(update={"presign_seconds": 2}))
    url = short.presigned_get(KEY, media_type="image/png", filename="x.png")
    assert http.get(url).status_code == 200
    eventually(lambda: time.sleep(0.2) or http.get(url).status_code == 403)
    assert http.get(stored).status_code == 200
