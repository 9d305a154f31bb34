"""Uploading from the command line: what was sent, in a line or as JSON."""

import json
from pathlib import Path

from tests.cli.conftest import Run, document
from tests.client.fake import Answer, FakeApi

PICTURE = {"id": "aa", "media_type": "image/png", "size_bytes": 1, "sha256": "", "width": 8, "height": 9}
DETAILS = {
    "pictures": 12, "classes": {f"c{n}": 1 for n in range(10)}, "splits": {"train": 12}, "captions": 0,
    "unreadable": 2, "too_large": 0, "ignored": 1, "bad_rows": 0,
}  # fmt: skip
DATA_SET = {"id": "bb", "media_type": "application/zip", "size_bytes": 9, "sha256": "", "details": DETAILS}


def test_each_upload_is_a_line(fake: FakeApi, run: Run, tmp_path: Path) -> None:
    fake.script("POST", "/v1/uploads", Answer(201, PICTURE), Answer(201, DATA_SET))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.png").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")

    result = run("upload", str(tmp_path / "a.png"), str(tmp_path / "set"))

    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first == f"aa  {tmp_path / 'a.png'}  8 × 9 pixels"
    assert second.startswith(f"bb  {tmp_path / 'set'}  12 pictures; classes c0 (1), c1 (1)")
    assert second.endswith("and 2 more; splits train (12); 2 unreadable; 1 ignored")


def test_a_direct_upload_goes_past_the_api(fake: FakeApi, run: Run, tmp_path: Path) -> None:
    link = {"id": "aa", "url": f"{fake.url}/bucket", "fields": {"key": "k", "policy": "p"}}
    fake.script("POST", "/v1/uploads/links", Answer(201, link))
    fake.script("POST", "/bucket", Answer(204))
    fake.script("POST", "/v1/uploads/links/aa/complete", Answer(201, PICTURE))
    (tmp_path / "a.png").write_bytes(b"four")

    result = run("upload", "--direct", str(tmp_path / "a.png"))

    assert result.exit_code == 0, result.output
    asked, sent, completed = fake.seen
    assert json.loads(asked.body) == {"kind": "picture", "size_bytes": 4}
    assert b"four" in sent.body
    assert "Authorization" not in sent.headers
    assert completed.path == "/v1/uploads/links/aa/complete"


def test_a_storage_that_refuses_a_direct_upload_is_an_error(fake: FakeApi, run: Run, tmp_path: Path) -> None:
    link = {"id": "aa", "url": f"{fake.url}/bucket", "fields": {"key": "k"}}
    fake.script("POST", "/v1/uploads/links", Answer(201, link))
    fake.script("POST", "/bucket", Answer(403))
    (tmp_path / "a.png").write_bytes(b"four")
    result = run("upload", "--direct", str(tmp_path / "a.png"))
    assert result.exit_code == 1
    assert "object storage" in result.stderr


def test_programs_get_the_apis_own_words(fake: FakeApi, run: Run, tmp_path: Path) -> None:
    fake.script("POST", "/v1/uploads", Answer(201, DATA_SET))
    (tmp_path / "set.zip").write_bytes(b"PK")
    assert document(run("upload", str(tmp_path / "set.zip"), "--json")) == DATA_SET


def test_what_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    result = run("upload", str(tmp_path / "missing"))
    assert result.exit_code == 1
    assert "missing" in result.stderr
