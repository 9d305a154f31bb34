"""Uploads past the API: the form that is signed, what the storage takes by it, and what becomes of that."""

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from models.artifacts import Upload
from models.session import Sessions
from models.settings import Settings
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.test_problems import assert_problem
from tests.zips import zipped

TEN_MINUTES = 600


@pytest.fixture
def data_set(picture: bytes) -> bytes:
    return zipped({"cat/1.png": picture, "dog/2.png": picture})


def link_for(caller: Caller, data: bytes, kind: str = "picture") -> dict[str, Any]:
    answer = caller.post("/v1/uploads/links", {"kind": kind, "size_bytes": len(data)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def send(link: dict[str, Any], data: bytes, **changes: str) -> httpx.Response:
    return httpx.post(link["url"], data=link["fields"] | changes, files={"file": ("x", data, "text/html")})


def test_a_data_set_goes_past_the_api(caller: Caller, data_set: bytes, storage: Storage) -> None:
    link = link_for(caller, data_set, "data_set")
    assert link["expires_in_seconds"] == TEN_MINUTES
    assert send(link, data_set).status_code == 204

    answer = caller.post(link["complete"])

    assert answer.status_code == 201, answer.text
    upload = answer.json
    assert (upload["id"], upload["kind"], upload["size_bytes"]) == (link["id"], "data_set", len(data_set))
    assert upload["details"]["classes"] == {"cat": 1, "dog": 1}
    assert caller.get(answer.headers["Location"]).json == upload
    assert httpx.get(caller.get(upload["url"]).headers["Location"]).content == data_set
    assert not list(storage.listing(link["fields"]["key"]))


def test_a_picture_is_decoded_as_if_it_had_come_by_the_api(caller: Caller, picture: bytes) -> None:
    link = link_for(caller, picture)
    send(link, picture)
    sent = caller.upload(picture).json
    completed = caller.post(link["complete"]).json
    assert {**completed, "id": "", "url": "", "created_at": "", "expires_at": ""} == {
        **sent, "id": "", "url": "", "created_at": "", "expires_at": "",
    }  # fmt: skip


def test_asked_again_it_is_the_same_upload(caller: Caller, picture: bytes, sessions: Sessions) -> None:
    link = link_for(caller, picture)
    send(link, picture)
    first, second = caller.post(link["complete"]), caller.post(link["complete"])
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json == second.json
    with sessions() as session:
        assert len(session.scalars(select(Upload)).all()) == 1


def test_two_that_complete_at_once_make_one_upload(
    caller: Caller, picture: bytes, sessions: Sessions, storage: Storage
) -> None:
    link = link_for(caller, picture)
    send(link, picture)
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(_completed(caller, link))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The later one finds the upload, or that what it came for has been taken.
    assert {found for found in ids if found} == {link["id"]}
    with sessions() as session:
        (row,) = session.scalars(select(Upload)).all()
    assert httpx.get(caller.get(f"/v1/uploads/{row.id}/content").headers["Location"]).status_code == 200
    assert [blob.key for blob in storage.listing(row.key)] == [row.key]


def _completed(caller: Caller, link: dict[str, Any]) -> str:
    answer = caller.post(link["complete"])
    assert answer.status_code in {200, 201, 404, 503}, answer.text
    return str((answer.json or {}).get("id", ""))


def test_before_anything_has_arrived_it_says_so(caller: Caller, picture: bytes) -> None:
    link = link_for(caller, picture)
    problem = assert_problem(caller.post(link["complete"]), 404, "not_found")
    assert "post the file" in problem["detail"]
    assert_problem(caller.post(f"/v1/uploads/links/{uuid4()}/complete"), 404, "not_found")


def test_what_is_no_picture_is_refused_by_its_content(caller: Caller, data_set: bytes) -> None:
    for kind, data, status in (("picture", data_set, 415), ("data_set", b"no zip", 422)):
        link = link_for(caller, data, kind)
        assert send(link, data).status_code == 204
        assert caller.post(link["complete"]).status_code == status


def test_more_than_may_be_kept_is_not_signed(caller: Caller, settings: Settings) -> None:
    for kind, most in (("picture", settings.max_upload_bytes), ("data_set", settings.max_data_set_bytes)):
        answer = caller.post("/v1/uploads/links", {"kind": kind, "size_bytes": most + 1})
        assert kind.replace("_", " ") in assert_problem(answer, 413, "too_large")["detail"]
    for body in ({"kind": "picture", "size_bytes": 0}, {"kind": "film", "size_bytes": 5}, {"kind": "picture"}):
        assert_problem(caller.post("/v1/uploads/links", body), 422, "validation_failed")


def test_the_storage_takes_no_other_length_type_or_key(caller: Caller, picture: bytes, storage: Storage) -> None:
    link = link_for(caller, picture)
    for data in (picture + b"x", picture[:-1], b""):
        assert send(link, data).status_code == 400
    fields = link["fields"]
    for changes in (
        {"key": fields["key"] + "x"},
        {"Content-Type": "text/html"},
        {"x-amz-signature": "0" * 64},
        {"policy": fields["policy"][:-8] + "AAAAAAAA"},
    ):
        assert send(link, picture, **changes).status_code in {400, 403}
    assert not list(storage.listing(fields["key"]))
    assert httpx.get(f"{link['url']}/{fields['key']}").status_code == 403


def test_a_form_ends(settings: Settings, picture: bytes) -> None:
    late = Storage(settings.model_copy(update={"presign_seconds": -5}))
    form = late.presigned_post("uploads/incoming/late", media_type="image/png", size_bytes=len(picture))
    answer = httpx.post(form.url, data=form.fields, files={"file": picture})
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_the_end_goes_by_s3s_clock(storage: Storage, picture: bytes) -> None:
    """Given a machine that is two hours behind S3, and knows it, then the form has not ended before it begins."""
    storage._clock.ahead = timedelta(hours=2)
    behind = storage.presigned_post("uploads/incoming/a", media_type="image/png", size_bytes=len(picture))
    storage._clock.ahead = timedelta(hours=-2)
    ahead = storage.presigned_post("uploads/incoming/a", media_type="image/png", size_bytes=len(picture))
    assert httpx.post(behind.url, data=behind.fields, files={"file": picture}).status_code == 204
    # Two hours ago is over, by S3's own clock.
    assert httpx.post(ahead.url, data=ahead.fields, files={"file": picture}).status_code == 403
