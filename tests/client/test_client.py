"""Where the client finds its API, and what it makes of the answers."""

import json
from pathlib import Path

import pytest

import safelight
from safelight import Client
from safelight.client import ConflictError, NotConfiguredError, ProtocolError
from safelight.client.target import find_target
from tests.client.fake import JOB_ID, Answer, FakeApi, job, problem


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation as the supervisor leaves it, and an environment without ours."""
    for name in ("SAFELIGHT_URL", "SAFELIGHT_KEY", "SAFELIGHT_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text(json.dumps({"url": "http://127.0.0.1:8400", "pid": 1}))
    (tmp_path / "key").write_text("sl_local\n")
    return tmp_path


def test_arguments_win_over_everything(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_URL", "http://environment:1")
    monkeypatch.setenv("SAFELIGHT_KEY", "sl_environment")

    target = find_target("https://given.example/v1/", "sl_given", home)

    assert (target.url, target.key) == ("https://given.example", "sl_given")
    assert "sl_given" not in repr(target)


def test_a_named_home_wins_over_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_URL", "http://environment:1")
    monkeypatch.setenv("SAFELIGHT_KEY", "sl_environment")

    target = find_target(home=home)

    assert (target.url, target.key) == ("http://127.0.0.1:8400", "sl_local")


def test_the_environment_wins_over_the_home_in_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_HOME", str(home))
    assert find_target().key == "sl_local"

    monkeypatch.setenv("SAFELIGHT_URL", "http://environment:1")
    target = find_target()

    assert target.url == "http://environment:1"
    assert target.key is None, "the installation's key is for the installation alone"


def test_nothing_is_running(home: Path) -> None:
    with pytest.raises(NotConfiguredError, match="safelight up"):
        find_target(home=home / "empty")


@pytest.mark.parametrize("url", ["127.0.0.1:8400", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(NotConfiguredError, match="not the address"):
        find_target(url, "k")


def test_a_job_is_read_with_its_types(fake: FakeApi, client: Client) -> None:
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job()))

    found = client.get(JOB_ID)

    assert found.checkpoint.name == "emoji"
    assert found.queue is not None
    assert found.queue.eta_seconds == 3.5
    assert found.created_at is not None
    assert found.created_at.tzinfo is not None
    assert found.raw["added_by_a_newer_api"] is True
    assert found == client.get(found)
    assert len({found, client.get(found)}) == 1


def test_lists_go_on_over_pages(fake: FakeApi, client: Client) -> None:
    pages = [
        {"items": [job(id=f"j{number}") for number in page], "cursor": c} for page, c in (((1, 2), "c"), ((3,), None))
    ]
    fake.script("GET", "/v1/jobs", *(Answer(json=page) for page in pages))

    found = [entry.id for entry in client.list(state="failed", tag="x")]

    assert found == ["j1", "j2", "j3"]
    assert fake.seen[0].query == {"state": "failed", "tag": "x", "limit": "100"}
    assert fake.seen[1].query["cursor"] == "c"


def test_a_limit_stops_the_pages(fake: FakeApi, client: Client) -> None:
    fake.script("GET", "/v1/jobs", Answer(json={"items": [job(id="j1"), job(id="j2")], "cursor": "c"}))

    assert len(list(client.list(limit=2))) == 2
    assert len(fake.seen) == 1


def test_a_cancel_whose_answer_was_lost_has_still_happened(fake: FakeApi, client: Client) -> None:
    fake.script("POST", f"/v1/jobs/{JOB_ID}/cancel", Answer(cut=True), problem(409, "conflict", "It is canceled."))
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job("canceled")), Answer(json=job("succeeded")))

    assert client.cancel(JOB_ID).state == "canceled"
    with pytest.raises(ConflictError):
        client.cancel(JOB_ID)


@pytest.mark.parametrize(
    "answer",
    [Answer(body=b"<html>"), Answer(json={"hello": 1}), Answer(308, headers={"Location": "https://x/"})],
    ids=["html", "other-json", "redirect"],
)
def test_something_that_is_not_safelight(fake: FakeApi, client: Client, answer: Answer) -> None:
    fake.script("GET", f"/v1/jobs/{JOB_ID}", answer)

    with pytest.raises(ProtocolError):
        client.get(JOB_ID)


def test_the_package_exports_the_client_lazily() -> None:
    assert safelight.Client is Client
    with pytest.raises(AttributeError):
        _ = safelight.Nothing


def test_files_jobs_and_artifacts_become_references(fake: FakeApi, tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"png")
    made = {"id": "c1", "media_type": "image/png", "size_bytes": 1, "sha256": "", "width": 8, "height": 8}
    ended = job("succeeded", artifacts=[made], result={"score": 1}, needs=["a"], chain_id="a")
    fake.script("POST", "/v1/uploads", Answer(201, {**made, "id": "u1"}))
    fake.script("POST", "/v1/jobs", Answer(202, ended))
    with Client(fake.url, "k") as client:
        first = client.submit("upscale", {"image": picture})
        steps = [{"task": "x", "params": {"a": first}}]
        client.submit("interpolate", {"images": [first, first.artifacts[0]]}, then=steps)
    bodies = [seen.json for seen in fake.seen if seen.path == "/v1/jobs"]
    assert bodies[0]["params"] == {"image": {"upload": "u1"}}
    assert bodies[1]["params"] == {"images": [{"job": JOB_ID}, {"artifact": "c1"}]}
    assert bodies[1]["then"] == [{"task": "x", "params": {"a": {"job": JOB_ID}}}]
    assert (first.result, first.needs, first.chain_id) == ({"score": 1}, ("a",), "a")
