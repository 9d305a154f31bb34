"""Data sets as uploads: a zip is looked through in a child, stored as it is, and refused where it could do harm."""

import io
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import Services, services_of
from api.uploads import child
from api.uploads.receiving import received
from models.settings import Settings
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.test_problems import assert_problem
from tests.api.test_uploads import png_that_says
from tests.seeding import Seeder
from tests.zips import image_folder, picture, rows, zipped


def send(caller: Caller, data: bytes, media_type: str = "application/zip") -> TestResponse:
    return caller.upload(data, filename="animals.zip", media_type=media_type)


def code_of(answer: TestResponse) -> str:
    return str(assert_problem(answer, 422, "validation_failed")["errors"][0]["code"])


def test_a_zip_is_stored_as_it_is_and_described(caller: Caller) -> None:
    table = rows({"file_name": "train/cat/000.png", "text": "a cat"}, {"file_name": "nowhere.png"})
    files: dict[str, Any] = image_folder({"cat": 3, "dog": 2}, split="train")
    files |= {"test/cat/9.jpg": picture(9, name="JPEG"), "train/cat/bad.png": b"no picture", "train/readme.txt": "x"}
    data = zipped(files | {"metadata.jsonl": table})

    answer = send(caller, data)

    assert answer.status_code == 201, answer.text
    upload = answer.json
    assert (upload["kind"], upload["media_type"], upload["size_bytes"]) == ("data_set", "application/zip", len(data))
    assert upload["width"] is upload["height"] is None
    assert upload["details"] == {
        "pictures": 6, "classes": {"cat": 4, "dog": 2}, "splits": {"test": 1, "train": 5}, "captions": 1,
        "unreadable": 1, "too_large": 0, "ignored": 1, "bad_rows": 1,
    }  # fmt: skip
    assert caller.get(answer.headers["Location"]).json == upload
    where = caller.get(upload["url"]).headers["Location"]
    assert ".zip" in where
    assert httpx.get(where).content == data


def test_a_picture_is_still_a_picture(caller: Caller, picture: bytes) -> None:
    upload = caller.upload(picture).json
    assert (upload["kind"], upload["details"], upload["width"]) == ("picture", None, 16)
    # The type of the part decides: a zip that says it is a picture is not one.
    assert_problem(send(caller, zipped({"a.png": picture}), "image/png"), 415, "unsupported_media_type")


def test_a_data_set_without_a_readable_picture_is_422(caller: Caller) -> None:
    for files in ({"readme.txt": "x"}, {"cat/1.png": b"no picture"}, {".hidden/1.png": picture()}, {}):
        assert code_of(send(caller, zipped(files))) == "no_pictures"


def test_pictures_of_too_many_pixels_are_left_out(caller: Caller) -> None:
    huge = png_that_says(100_000, 100_000)
    assert send(caller, zipped({"a.png": picture(), "b.png": huge})).json["details"]["too_large"] == 1
    assert code_of(send(caller, zipped({"b.png": huge}))) == "no_pictures"


def test_hostile_zips_are_refused(caller: Caller) -> None:
    assert code_of(send(caller, b"not a zip at all")) == "not_a_zip"
    assert code_of(send(caller, picture())) == "not_a_zip"
    assert code_of(send(caller, zipped({"../../up.png": picture()}))) == "unsafe_name"
    bomb = zipped({f"{n}.png": bytes(30 << 20) for n in range(3)})
    assert len(bomb) < 200_000
    assert_problem(send(caller, bomb), 413, "too_large")


@pytest.fixture
def narrow(app_settings: Settings, seed: Seeder) -> Any:
    """A caller of an application that takes little."""
    little = {
        "max_upload_bytes": 20_000, "max_data_set_bytes": 100_000, "max_data_set_pictures": 5,
        "max_data_set_picture_pixels": 600, "max_client_upload_bytes": 100_000,
    }  # fmt: skip
    app = create_app(app_settings.model_copy(update=little))
    client_id = seed.client()
    yield Caller(app, seed.key(client_id), client_id)
    services_of(app).close()


def test_each_kind_has_a_size_of_its_own(narrow: Caller) -> None:
    """Given a zip may be larger than a picture, when a picture comes that is as large, then it is too large."""
    padding = picture(size=(200, 100), noise=9)
    assert 20_000 < len(padding) < 80_000
    assert_problem(narrow.upload(padding), 413, "too_large")
    assert send(narrow, zipped({"a.png": picture(), "b.txt": padding})).status_code == 201
    assert_problem(send(narrow, zipped({"a.png": picture(), "b.txt": padding * 4}) + bytes(100_000)), 413, "too_large")
    assert_problem(send(narrow, zipped(image_folder({"cat": 6}))), 413, "too_large")


def test_a_client_keeps_so_many_bytes_and_no_more(narrow: Caller, storage: Storage) -> None:
    """Given a client with little room left, when it sends more, then it is told, nothing stays, and deleting helps."""
    data = zipped({"a.png": picture(), "b.txt": picture(size=(200, 100), noise=9)})
    assert 2 * len(data) > 100_000 > len(data)
    first = send(narrow, data)
    before = {blob.key for blob in storage.listing("uploads/")}
    assert_problem(send(narrow, data), 429, "quota_exceeded")
    assert {blob.key for blob in storage.listing("uploads/")} == before
    assert narrow.delete(first.headers["Location"]).status_code == 204
    assert send(narrow, data).status_code == 201


def test_a_checker_that_was_taken_over_is_not_believed(
    caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    counts = '"captions":0,"unreadable":0,"too_large":0,"ignored":0,"bad_rows":0'
    for name, code in {
        "a crash": "import os; os.kill(os.getpid(), 11)",
        "no JSON": "print('<script>')",
        "a lie": f"""print('{{"pictures":-1,"classes":{{}},"splits":{{}},{counts}}}')""",
        "more": f"""print('{{"pictures":1,"classes":{{}},"splits":{{}},{counts},"admin":true}}')""",
        "an odd code": """print('{"refused":"<b>","message":"x"}')""",
    }.items():
        with subtests.test(name):
            program = tmp_path / "hostile.py"
            program.write_text(code)
            monkeypatch.setattr(child, "ZIP_PROGRAM", program)
            assert code_of(send(caller, zipped({"a.png": picture()}))) == "checker_crashed"


def test_the_real_checker_has_given_up_what_could_do_harm(
    caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given somebody in the real program, when it wants files, memory or the environment, then there are none."""
    checker = Path(child.zip_checker.__file__)
    program = tmp_path / "hostile.py"
    program.write_text(f"""
import os, runpy, sys
sys.path.insert(0, {str(checker.parents[2])!r})
space = runpy.run_path({str(checker)!r})
def look_through(stream, bounds, max_pixels):
    taken = []
    for name, attempt in dict(
        files=lambda: open("/etc/passwd"), memory=lambda: bytearray(600 << 20), secrets=lambda: os.environ["HOME"],
    ).items():
        try:
            attempt()
            taken.append(name)
        except (OSError, MemoryError, KeyError):
            pass
    counts = dict(captions=0, unreadable=0, too_large=0, ignored=0, bad_rows=0)
    return dict(pictures=1, classes={{name: 1 for name in taken}}, splits={{"asked": 1}}, **counts)
space["main"].__globals__["look_through"] = look_through
os._exit(space["main"](*sys.argv[1:]))
""")
    monkeypatch.setattr(child, "ZIP_PROGRAM", program)
    details = send(caller, zipped({"a.png": picture()})).json["details"]
    assert (details["classes"], details["splits"]) == ({}, {"asked": 1})


def test_only_so_many_data_sets_come_at_a_time(caller: Caller, api: Services) -> None:
    held = [api.archives.take() for _ in range(api.archives.capacity)]
    assert_problem(send(caller, zipped({"a.png": picture()})), 503, "unavailable")
    assert caller.upload(picture()).status_code == 201
    for slot in held:
        assert slot is not None
        slot.release()
    assert send(caller, zipped({"a.png": picture()})).status_code == 201
    assert api.archives.taken == 0


def test_a_data_set_comes_to_a_file_and_not_into_memory(caller: Caller, api: Services) -> None:
    """Given a large part, when it is received, then it lies in a temporary file that has no name and ends with it."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: application/zip\r\n\r\n'
    body += bytes(3 << 20) + b"\r\n--x--\r\n"
    before = set(Path(tempfile.gettempdir()).glob("safelight-upload-*"))
    context = caller.app.test_request_context(
        "/", method="POST", input_stream=io.BytesIO(body), content_length=len(body),
        content_type="multipart/form-data; boundary=x",
    )  # fmt: skip
    with context, received(api.settings, api.archives) as file:
        assert file.size_bytes == 3 << 20
        assert file.stream.fileno() > 2
        assert set(Path(tempfile.gettempdir()).glob("safelight-upload-*")) == before
    assert file.stream.closed


def test_a_job_takes_a_data_set_where_it_wants_one(caller: Caller, picture: bytes, seed: Seeder) -> None:
    seed.checkpoint("tools", family="preprocess", tasks=("preprocess",))
    zip_id = send(caller, zipped({"a.png": picture})).json["id"]
    picture_id = caller.upload(picture).json["id"]
    good = caller.post("/v1/jobs", {"task": "preprocess", "params": {"data_set": {"upload": zip_id}}})
    assert good.status_code == 202, good.text
    bad = caller.post("/v1/jobs", {"task": "preprocess", "params": {"data_set": {"upload": picture_id}}})
    assert code_of(bad) == "wrong_kind"
