"""`safelight webhooks`, and the webhook of one job."""

from typing import Any

import pytest

from tests.cli.conftest import Run, document
from tests.client.fake import JOB_ID, Answer, FakeApi, job

HOOKS, URL = "/v1/webhooks", "https://example.com/hook"
ID = "019aa8a0-0000-7000-8000-00000000feed"
OTHER = "019aa8a0-0000-7000-8000-0000000000ff"
PATH = f"{HOOKS}/{ID}"
SECRET = "whsec_c2VjcmV0"


def hook(**changes: Any) -> dict[str, Any]:
    view = {"id": ID, "url": URL, "scope": "all", "events": ["job.succeeded", "job.failed"], "enabled": True}
    return {**view, "disabled_reason": None, "failing_since": None, **changes}


@pytest.fixture
def two(fake: FakeApi) -> FakeApi:
    """Two webhooks whose ids begin alike."""
    other = hook(id=OTHER, url=URL + "2", enabled=False, disabled_reason="gone")
    fake.script("GET", HOOKS, Answer(json={"items": [hook(), other], "cursor": None}))
    return fake


def test_a_new_secret_is_alone_on_stdout(fake: FakeApi, run: Run) -> None:
    fake.script("POST", HOOKS, Answer(201, hook(secret=SECRET)))

    result = run("webhooks", "add", URL, "--event", "job.succeeded", "-e", "job.failed")

    assert result.stdout == f"{SECRET}\n"
    assert fake.seen[0].json == {"url": URL, "events": ["job.succeeded", "job.failed"]}
    assert run("webhooks", "add", URL).exit_code == 0
    assert fake.seen[1].json == {"url": URL}
    assert document(run("webhooks", "add", URL, "--json"))["secret"] == SECRET


def test_the_list_says_which_are_off_and_why(two: FakeApi, run: Run) -> None:
    lines = run("webhooks", "ls").stdout.splitlines()

    assert URL in lines[1]
    assert " on " in lines[1]
    assert "succeeded failed" in lines[1]
    assert "off (gone)" in lines[2]
    assert [entry["id"] for entry in document(run("webhooks", "ls", "--json"))["items"]] == [ID, OTHER]


@pytest.mark.parametrize("text", [ID, ID.upper(), "feed", URL])
def test_a_part_of_the_id_or_the_url_is_enough(two: FakeApi, run: Run, text: str) -> None:
    two.script("GET", f"{PATH}/secret", Answer(json={"secret": SECRET}))

    assert run("webhooks", "secret", text).stdout == f"{SECRET}\n"


@pytest.mark.parametrize("text", ["019aa8a0", "beef", "ed", "https://example.com/other"])
def test_what_means_none_or_two_is_wrong_usage(two: FakeApi, run: Run, text: str) -> None:
    result = run("webhooks", "rm", text)

    assert result.exit_code == 2
    assert not two.requests("DELETE", PATH)


def test_changing_sends_what_is_given(two: FakeApi, run: Run) -> None:
    two.script("PATCH", PATH, Answer(json=hook(enabled=False, disabled_reason="asked")))

    result = run("webhooks", "set", "feed", "--disable", "--to", URL + "3")

    assert result.stdout == f"Webhook {ID} is off (asked).\n"
    assert two.requests("PATCH", PATH)[0].json == {"url": URL + "3", "enabled": False}
    run("webhooks", "set", "feed", "--enable", "-e", "job.expired")
    assert two.requests("PATCH", PATH)[1].json == {"events": ["job.expired"], "enabled": True}


def test_rotating_shows_the_new_secret_alone(two: FakeApi, run: Run) -> None:
    made = hook(secret=SECRET, previous_secret_expires_at="2026-11-22T22:54:00+00:00")
    two.script("POST", f"{PATH}/rotate", Answer(json=made))

    result = run("webhooks", "rotate", "feed")

    assert result.stdout == f"{SECRET}\n"
    assert "until 2026-11-2" in result.stderr


def test_deleting(two: FakeApi, run: Run) -> None:
    two.script("DELETE", PATH, Answer(204))

    assert run("webhooks", "rm", "feed").stdout == f"Webhook {ID} is deleted.\n"
    assert document(run("webhooks", "rm", "feed", "--json")) == {"id": ID, "deleted": True}


def test_deliveries_show_how_the_last_try_went(two: FakeApi, run: Run) -> None:
    tries = [{"number": 1, "status_code": 500, "error": "status"}, {"number": 2, "status_code": None, "error": "dns"}]
    sent = {"id": "d1", "kind": "job.failed", "job_id": JOB_ID, "state": "failed", "tries": 2, "attempts": tries}
    fresh = {"id": "d2", "kind": "webhook.test", "job_id": None, "state": "pending", "tries": 0, "attempts": []}
    two.script("GET", f"{PATH}/deliveries", Answer(json={"items": [fresh, sent], "cursor": None}))

    lines = run("webhooks", "deliveries", "feed", "--state", "failed", "--limit", "5").stdout.splitlines()

    assert two.requests("GET", f"{PATH}/deliveries")[0].query == {"state": "failed", "limit": "5"}
    assert "webhook.test" in lines[1]
    assert JOB_ID in lines[2]
    assert "dns" in lines[2]


def test_sending_again_and_a_test(two: FakeApi, run: Run) -> None:
    two.script("POST", f"{PATH}/deliveries/d1/redeliver", Answer(202, {"id": "d1", "kind": "job.failed"}))
    two.script("POST", f"{PATH}/test", Answer(202, {"id": "d2", "kind": "webhook.test"}))

    assert run("webhooks", "redeliver", "feed", "d1").stdout == "Delivery d1 (job.failed) is on its way.\n"
    assert document(run("webhooks", "test", "feed", "--json"))["id"] == "d2"


def test_a_job_names_its_webhook(fake: FakeApi, run: Run) -> None:
    fake.script("POST", "/v1/jobs", Answer(202, job()))

    assert run("submit", "a cat", "--webhook", URL, "--no-wait").exit_code == 0
    assert fake.seen[0].json["webhook"] == {"url": URL}
