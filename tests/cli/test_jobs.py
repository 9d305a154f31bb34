"""Jobs that were submitted before, found by a part of their id."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run, document
from tests.client.fake import JOB_ID, SHORT, Answer, FakeApi, job, problem, sse

JOBS, PATH = "/v1/jobs", f"/v1/jobs/{JOB_ID}"
OTHER = "019aa8a0-0000-7000-8000-00000000cafe"


@pytest.fixture
def two(fake: FakeApi) -> FakeApi:
    """Two jobs whose ids begin alike."""
    page = {"items": [job("succeeded"), job("failed", id=OTHER, tag="bad")], "cursor": None}
    fake.script("GET", JOBS, Answer(json=page))
    fake.script("GET", PATH, Answer(json=job("succeeded", attempts=[{"outcome": "succeeded", "worker": "gpu-1"}])))
    return fake


def test_the_list_is_a_table_or_json(two: FakeApi, run: Run) -> None:
    table = run("ls", "--state", "failed", "--state", "succeeded", "--tag", "x", "--since", "2h", "--limit", "5")

    assert table.exit_code == 0, table.output
    assert JOB_ID in table.stdout
    assert "a cat" in table.stdout
    assert {"tag": "x", "limit": "6"}.items() <= two.seen[0].query.items()
    assert two.seen[0].query["created_after"].startswith("20")
    assert [item["id"] for item in document(run("ls", "--json"))["items"]] == [JOB_ID, OTHER]


def test_a_limit_says_that_there_is_more(two: FakeApi, run: Run) -> None:
    result = run("ls", "--limit", "1")

    assert OTHER not in result.stdout
    assert "--all" in result.stderr
    assert document(run("ls", "--limit", "1", "--json"))["more"] is True


def test_an_empty_list(fake: FakeApi, run: Run) -> None:
    fake.script("GET", JOBS, Answer(json={"items": [], "cursor": None}))

    assert run("ls").stdout == ""
    assert document(run("ls", "--json"))["items"] == []


@pytest.mark.parametrize("part", [JOB_ID, SHORT, "beef", JOB_ID[:-2], JOB_ID.upper()])
def test_a_part_of_the_id_is_enough(two: FakeApi, run: Run, part: str) -> None:
    result = run("show", part)

    assert result.exit_code == 0, result.output
    assert JOB_ID in result.stdout
    assert "succeeded on gpu-1" in result.stdout


@pytest.mark.parametrize(("part", "why"), [("019aa8a0", "2 jobs"), ("ffff", "None of"), ("../keys", "neither")])
def test_a_part_that_does_not_tell_is_wrong_usage(two: FakeApi, run: Run, part: str, why: str) -> None:
    result = run("show", part)

    assert result.exit_code == 2
    assert why in result.stderr


def test_watch_ends_with_the_job(two: FakeApi, run: Run) -> None:
    assert run("watch", JOB_ID).exit_code == 0
    two.script("GET", PATH, Answer(json=job("canceled")))
    assert run("watch", JOB_ID).exit_code == 1


def test_watch_prints_events(fake: FakeApi, run: Run) -> None:
    stream = sse(("job.queued", "1", {}), ("progress", None, {"step": 1}), ("job.failed", "2", {"code": "x"}))
    fake.script("GET", f"{PATH}/events", stream)

    plain, lines = run("watch", JOB_ID, "--events"), run("watch", JOB_ID, "--events", "--json")

    assert plain.exit_code == lines.exit_code == 1
    assert "job.failed" in plain.stdout
    assert lines.stdout.splitlines()[0] == '{"id": "1", "event": "job.queued", "data": {}}'


def test_cancel_takes_several(two: FakeApi, run: Run) -> None:
    two.script("POST", f"{PATH}/cancel", Answer(json=job("canceled")))
    two.script("POST", f"/v1/jobs/{OTHER}/cancel", Answer(json=job("running", id=OTHER, cancel_requested=True)))

    result = run("cancel", "beef", "cafe")

    assert result.stdout.splitlines() == [f"{JOB_ID} is canceled", f"{OTHER} will stop at its next step"]


def test_rm_deletes_several(two: FakeApi, run: Run) -> None:
    two.script("DELETE", PATH, Answer(204))
    two.script("DELETE", f"/v1/jobs/{OTHER}", Answer(204))

    assert run("rm", "beef", "cafe").stdout.splitlines() == [f"{JOB_ID} is deleted", f"{OTHER} is deleted"]
    assert document(run("rm", JOB_ID, "--json")) == {"deleted": [JOB_ID]}


def test_rm_of_a_live_job_says_what_to_do(two: FakeApi, run: Run) -> None:
    two.script("DELETE", PATH, problem(409, "conflict", "The job is running; cancel it first."))

    result = run("rm", "beef")

    assert result.exit_code == 1
    assert "cancel it first" in result.stderr


def test_retry_is_a_new_job(two: FakeApi, run: Run) -> None:
    two.script("POST", f"/v1/jobs/{OTHER}/retry", Answer(202, job(source_job_id=OTHER)))

    assert run("retry", "cafe").stdout == f"{JOB_ID}\n"
    assert run("retry", "cafe", "--wait").exit_code == 0
    assert document(run("retry", "cafe", "--json"))["source_job_id"] == OTHER


def test_there_is_nothing_to_download_yet(two: FakeApi, run: Run) -> None:
    two.script("GET", PATH, Answer(json=job("running")))

    result = run("download", JOB_ID, "-o", "pictures")

    assert result.exit_code == 1
    assert "it is running" in result.stderr


def test_a_picture_is_verified(fake: FakeApi, run: Run) -> None:
    match = {"match": "pixels", "created_at": "2026-11-22T06:00:00+00:00", "checkpoint": "emoji", "job_id": None}
    nothing = {"made_here": False, "matches": [], "claim": None}
    fake.script(
        "POST", "/v1/verify", Answer(json={**nothing, "made_here": True, "matches": [match]}), Answer(json=nothing)
    )
    Path("cat.png").write_bytes(b"png")
    known, unknown = run("verify", "cat.png"), run("verify", "cat.png")
    assert (known.exit_code, unknown.exit_code) == (0, 1)
    assert "these pixels" in known.stdout
    assert "not made here" in unknown.stdout


def test_a_job_is_reproduced(fake: FakeApi, run: Run) -> None:
    fake.script("POST", f"/v1/jobs/{JOB_ID}/reproduce", Answer(202, job()))
    told = {"of": JOB_ID, "identical": True}
    fake.script("GET", f"/v1/jobs/{JOB_ID}", Answer(json=job("succeeded", result={"reproduction": told})))
    result = run("reproduce", JOB_ID)
    assert result.exit_code == 0, result.output
    assert '"identical": true' in result.stdout
