"""Pictures arrive whole, from a storage that never sees the key."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight import Client
from safelight.client import Artifact, CorruptDownloadError, LocalFileError, NotFoundError
from tests.client.fake import JOB_ID, SHORT, Answer, FakeApi, artifact, fake_api, job, problem

PICTURE = b"png"
RAW = artifact(hashlib.sha256(PICTURE).hexdigest())
CONTENT = f"/v1/artifacts/{RAW['id']}/content"


@pytest.fixture
def storage(fake: FakeApi) -> Iterator[FakeApi]:
    """Another host, to which the API redirects."""
    with fake_api() as running:
        fake.script("GET", CONTENT, Answer(302, headers={"Location": f"{running.url}/bucket/key?signature=1"}))
        yield running


def test_the_key_does_not_follow_the_redirect(fake: FakeApi, storage: FakeApi, client: Client, tmp_path: Path) -> None:
    storage.script("GET", "/bucket/key", Answer(body=PICTURE))

    [path] = client.download(_done(), tmp_path / "pictures")

    assert path == tmp_path / "pictures" / f"{SHORT}-0.png"
    assert path.read_bytes() == PICTURE
    assert fake.seen[0].headers["authorization"].startswith("Bearer sl_")
    assert "authorization" not in storage.seen[0].headers
    assert storage.seen[0].query == {"signature": "1"}


def test_a_wrong_hash_leaves_the_old_file(storage: FakeApi, client: Client, tmp_path: Path) -> None:
    storage.script("GET", "/bucket/key", Answer(body=b"gnp"))
    place = tmp_path / "cat.png"
    place.write_bytes(b"old")

    with pytest.raises(CorruptDownloadError, match="SHA-256"):
        client.download(Artifact.read(RAW), place)

    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_broken_or_refused_download_asks_for_a_new_address(
    fake: FakeApi, storage: FakeApi, client: Client, tmp_path: Path
) -> None:
    storage.script("GET", "/bucket/key", Answer(403), Answer(body=b"p", cut=True), Answer(body=PICTURE))

    path = client.download(Artifact.read(RAW), tmp_path)

    assert path.read_bytes() == PICTURE
    assert len(fake.requests("GET", CONTENT)) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_storage_that_goes_on_refusing_is_named(storage: FakeApi, client: Client, tmp_path: Path) -> None:
    storage.script("GET", "/bucket/key", Answer(404))

    with pytest.raises(NotFoundError, match=r"object storage at 127\.0\.0\.1 answered 404"):
        client.download(Artifact.read(RAW), tmp_path)


def test_several_pictures_under_one_name_are_numbered(fake: FakeApi, client: Client, tmp_path: Path) -> None:
    views = [artifact(RAW["sha256"], index) for index in range(2)]
    for view in views:
        fake.script("GET", f"/v1/artifacts/{view['id']}/content", Answer(body=PICTURE))
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job("succeeded", artifacts=views)))

    paths = client.download(JOB_ID, tmp_path / "cat.png")

    assert [path.name for path in paths] == ["cat-0.png", "cat-1.png"]


def test_what_cannot_be_written_or_read_is_an_error_of_ours(storage: FakeApi, client: Client, tmp_path: Path) -> None:
    storage.script("GET", "/bucket/key", Answer(body=PICTURE))
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalFileError):
        client.download(Artifact.read(RAW), tmp_path / "file" / "cat.png")
    with pytest.raises(LocalFileError, match="missing"):
        client.upload(tmp_path / "missing.png")


def test_an_upload_is_multipart(fake: FakeApi, client: Client, tmp_path: Path) -> None:
    fake.script("POST", "/v1/uploads", problem(503, "unavailable"), Answer(201, RAW))
    (tmp_path / "cat.png").write_bytes(PICTURE)

    sent = client.upload(tmp_path / "cat.png")

    assert sent.id == RAW["id"]
    first, second = fake.seen
    assert b'name="file"; filename="cat.png"' in first.body
    assert PICTURE in second.body


def test_a_folder_is_sent_as_a_zip(fake: FakeApi, client: Client, tmp_path: Path) -> None:
    """Given a folder of pictures among other things, when it is uploaded twice, then the pictures alone, alike."""
    fake.script("POST", "/v1/uploads", problem(503, "unavailable"), Answer(201, {**RAW, "details": {"pictures": 2}}))
    folder = tmp_path / "animals"
    for name in ("cat/1.png", "dog/2.JPG", "cat/.hidden.png", ".git/3.png", "notes.txt", "metadata.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "dog" / "link.png").symlink_to("/etc/passwd")

    sent = client.upload(folder)

    assert sent.raw["details"] == {"pictures": 2}
    bodies = [seen.body for seen in fake.seen]
    for body in bodies:
        assert b'filename="animals.zip"' in body
        assert b"Content-Type: application/zip" in body
    zips = [body[body.index(b"PK") : body.rindex(b"\r\n--")] for body in bodies]
    assert zips[0] == zips[1]
    with zipfile.ZipFile(io.BytesIO(zips[0])) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            name: name.encode() for name in ("cat/1.png", "dog/2.JPG", "metadata.jsonl")
        }


def test_a_folder_without_pictures_is_an_error_of_ours(client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(LocalFileError, match="no picture"):
        client.upload(tmp_path)


def _done() -> object:
    from safelight.client import Job

    return Job.read(job("succeeded", artifacts=[RAW]))
