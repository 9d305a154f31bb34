"""Webhooks over the API: their life, whose they are, who sees a secret, what jobs name, what was sent."""

import uuid
from typing import Any

import pytest
from sqlalchemy import select, text

from models.audit import AuditEntry
from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import Role
from models.storage import Storage
from models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookMessage
from models.webhooks.kinds import FINAL_EVENTS
from tests.api.conftest import PROMPT, Caller
from tests.api.helpers import succeed
from tests.api.test_problems import assert_problem
from tests.seeding import Seeder

URL = "https://hooks.example.com/safelight?token=hush"
HOOKS = "/v1/webhooks"


def make(caller: Caller, url: str = URL, **more: Any) -> dict[str, Any]:
    answer = caller.post(HOOKS, {"url": url, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def path(hook: dict[str, Any], more: str = "") -> str:
    return f"{HOOKS}/{hook['id']}{more}"


def patch(caller: Caller, hook: dict[str, Any], **changes: Any) -> Any:
    return caller("PATCH", path(hook), json=changes)


def audited(sessions: Sessions) -> list[tuple[str, str, str]]:
    with sessions() as session:
        return [(row.action, row.subject, row.client) for row in session.scalars(select(AuditEntry))]


# --- their life ------------------------------------------------------------------------------------------------------


def test_a_webhook_is_made_read_changed_and_deleted(caller: Caller) -> None:
    answer = caller.post(HOOKS, {"url": URL})
    hook = dict(answer.json)
    assert answer.headers["Location"] == path(hook)
    assert answer.headers["Cache-Control"] == "no-store"
    secret = hook.pop("secret")
    assert secret.startswith("whsec_")
    assert hook["events"] == list(FINAL_EVENTS)
    assert (hook["scope"], hook["enabled"], hook["disabled_reason"], hook["url"]) == ("all", True, None, URL)
    assert caller.get(path(hook)).json == hook
    assert caller.get(HOOKS).json == {"items": [hook], "cursor": None}

    changed = patch(caller, hook, url=URL + "2", events=["job.failed", "job.failed"], enabled=False).json
    assert (changed["url"], changed["events"]) == (URL + "2", ["job.failed"])
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "asked")
    assert patch(caller, hook).json == changed
    assert patch(caller, hook, enabled=True).json["disabled_reason"] is None

    assert caller.delete(path(hook)).status_code == 204
    assert caller.get(path(hook)).status_code == 404
    assert caller.delete(path(hook)).status_code == 404


def test_a_secret_rotates_and_the_old_one_goes_on_for_a_while(caller: Caller) -> None:
    hook = make(caller)
    assert caller.get(path(hook, "/secret")).json == {
        "secret": hook["secret"],
        "previous_secret": None,
        "previous_secret_expires_at": None,
    }
    rotated = caller.post(path(hook, "/rotate"))
    assert rotated.headers["Cache-Control"] == "no-store"
    assert rotated.json["secret"] != hook["secret"]
    kept = caller.get(path(hook, "/secret"))
    assert (kept.json["secret"], kept.json["previous_secret"]) == (rotated.json["secret"], hook["secret"])
    assert kept.json["previous_secret_expires_at"] == rotated.json["previous_secret_expires_at"]
    assert kept.headers["Cache-Control"] == "no-store"


def test_one_url_has_one_webhook(caller: Caller, stranger: Caller) -> None:
    first, second = make(caller), make(caller, URL + "2")
    assert_problem(caller.post(HOOKS, {"url": URL}), 409, "conflict")
    assert_problem(patch(caller, second, url=first["url"]), 409, "conflict")
    make(stranger)


def test_there_is_a_limit(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.webhooks import EndpointScope
    from models.webhooks.endpoints import MAX_ENDPOINTS

    monkeypatch.setitem(MAX_ENDPOINTS, EndpointScope.ALL, 1)
    monkeypatch.setitem(MAX_ENDPOINTS, EndpointScope.NAMED, 1)
    make(caller)
    assert_problem(caller.post(HOOKS, {"url": URL + "2"}), 409, "too_many_webhooks")
    caller.submit(webhook={"url": URL})
    again = caller.post("/v1/jobs", {**PROMPT, "webhook": {"url": URL + "2"}})
    (error,) = assert_problem(again, 422, "validation_failed")["errors"]
    assert (error["pointer"], error["code"]) == ("/webhook/url", "too_many_webhooks")
    caller.submit(webhook={"url": URL})


def test_a_list_goes_on_over_pages(caller: Caller) -> None:
    made = [make(caller, f"{URL}{number}")["id"] for number in range(3)]
    first = caller.get(f"{HOOKS}?limit=2").json
    second = caller.get(f"{HOOKS}?limit=2&cursor={first['cursor']}").json
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["cursor"] is None
    assert_problem(caller.get(f"{HOOKS}?cursor=x"), 422, "validation_failed")


# --- whose they are --------------------------------------------------------------------------------------------------


def test_a_viewer_sees_webhooks_but_neither_secrets_nor_queries(callers: dict[Role, Caller], stranger: Caller) -> None:
    hook, viewer = make(stranger), callers[Role.VIEWER]
    seen = viewer.get(path(hook)).json
    assert seen["url"] == "https://hooks.example.com/safelight"
    assert "secret" not in seen
    assert viewer.get(HOOKS).json["items"] == [seen]
    assert viewer.get(path(hook, "/deliveries")).status_code == 200
    for answer in (
        viewer.get(path(hook, "/secret")),
        viewer.post(path(hook, "/rotate")),
        viewer.post(path(hook, "/test")),
        patch(viewer, hook, enabled=False),
        viewer.delete(path(hook)),
        viewer.post(HOOKS, {"url": URL}),
    ):
        assert_problem(answer, 403, "forbidden")


def test_an_operator_acts_for_others_and_leaves_a_trace(
    callers: dict[Role, Caller], stranger: Caller, sessions: Sessions
) -> None:
    hook, operator = make(stranger), callers[Role.OPERATOR]
    assert operator.get(path(hook)).json["url"] == URL
    assert audited(sessions) == []
    rotated = operator.post(path(hook, "/rotate")).json
    assert operator.get(path(hook, "/secret")).json["secret"] == rotated["secret"]
    delivery = operator.post(path(hook, "/test")).json
    operator.post(path(hook, f"/deliveries/{delivery['id']}/redeliver"))
    patch(operator, hook, enabled=False)
    operator.delete(path(hook))
    acted = ["rotate", "secret", "test", "redeliver", "change", "delete"]
    assert [action for action, _, _ in audited(sessions)] == [f"webhook.{verb}" for verb in acted]
    assert {client for _, _, client in audited(sessions)} == {"house"}
    assert {subject for _, subject, _ in audited(sessions)} == {hook["id"], delivery["id"]}


def test_ones_own_webhooks_leave_no_trace_and_a_refusal_neither(
    callers: dict[Role, Caller], stranger: Caller, sessions: Sessions
) -> None:
    operator = callers[Role.OPERATOR]
    mine, theirs = make(operator), make(stranger)
    operator.post(path(mine, "/rotate"))
    patch(operator, theirs, url="https://127.0.0.1/")
    operator.post(path(theirs, f"/deliveries/{uuid.uuid4()}/redeliver"))
    assert audited(sessions) == []


def test_a_delivery_of_another_webhook_is_not_found(caller: Caller) -> None:
    first, second = make(caller), make(caller, URL + "2")
    delivery = caller.post(path(first, "/test")).json
    answer = caller.post(path(second, f"/deliveries/{delivery['id']}/redeliver"))
    assert_problem(answer, 404, "not_found")


# --- what jobs name --------------------------------------------------------------------------------------------------


def deliveries(caller: Caller, hook_id: str, query: str = "") -> list[dict[str, Any]]:
    answer = caller.get(f"{HOOKS}/{hook_id}/deliveries{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json["items"])


def test_a_job_names_where_it_is_told_of(caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    everything = make(caller)
    named = caller.submit(webhook={"url": URL, "events": ["job.running", "job.succeeded"]})
    plain = caller.submit()
    assert named["webhook"]["events"] == ["job.running", "job.succeeded"]
    assert plain["webhook"] is None
    for _ in range(2):
        succeed(seed, sessions, storage)
    hook = caller.get(f"{HOOKS}/{named['webhook']['id']}").json
    assert (hook["scope"], hook["url"]) == ("named", URL)
    sent = [(entry["job_id"], entry["kind"]) for entry in deliveries(caller, hook["id"])]
    assert sent == [(named["id"], "job.succeeded"), (named["id"], "job.running")]
    assert {entry["job_id"] for entry in deliveries(caller, everything["id"])} == {named["id"], plain["id"]}
    assert caller.get(named["urls"]["self"]).json["webhook"] == named["webhook"]


def test_a_copy_names_the_same_unless_it_says_otherwise(caller: Caller, callers: dict[Role, Caller]) -> None:
    job = caller.submit(webhook={"url": URL, "events": ["job.failed"]})
    caller.post(job["urls"]["cancel"])
    clone = f"{job['urls']['self']}/clone"
    assert caller.post(job["urls"]["retry"]).json["webhook"] == job["webhook"]
    assert caller.post(clone).json["webhook"] == job["webhook"]
    assert caller.post(clone, {"webhook": None}).json["webhook"] is None
    other = caller.post(clone, {"webhook": {"url": URL + "2"}}).json["webhook"]
    assert other["events"] is None
    assert other["id"] != job["webhook"]["id"]


def test_an_operators_clone_does_not_name_another_clients_webhook(
    callers: dict[Role, Caller], stranger: Caller, checkpoint: CheckpointCard
) -> None:
    job, operator = stranger.submit(webhook={"url": URL}), callers[Role.OPERATOR]
    assert operator.post(f"{job['urls']['self']}/clone").json["webhook"] is None
    stranger.post(job["urls"]["cancel"])
    # A retry is the stranger's own job again, so it keeps what it names.
    assert operator.post(job["urls"]["retry"]).json["webhook"] == job["webhook"]


def test_a_dry_run_makes_no_webhook(caller: Caller, sessions: Sessions) -> None:
    answer = caller.post("/v1/jobs?dry_run=true", {**PROMPT, "webhook": {"url": URL}})
    assert answer.status_code == 200
    with sessions() as session:
        assert session.scalars(select(WebhookEndpoint)).all() == []


def test_a_replay_is_the_same_job_whatever_became_of_its_webhook(caller: Caller) -> None:
    body, headers = {**PROMPT, "webhook": {"url": URL}}, {"Idempotency-Key": "one"}
    first = caller.post("/v1/jobs", body, headers=headers).json
    again = caller.post("/v1/jobs", body, headers=headers)
    assert (again.headers["Idempotency-Replayed"], again.json["id"]) == ("true", first["id"])
    assert again.json["webhook"] == first["webhook"]
    other = caller.post("/v1/jobs", {**PROMPT, "webhook": {"url": URL + "2"}}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused")
    caller.delete(f"{HOOKS}/{first['webhook']['id']}")
    assert caller.post("/v1/jobs", body, headers=headers).json["id"] == first["id"]


# --- what was sent ---------------------------------------------------------------------------------------------------


def test_the_log_shows_every_try_and_narrows_by_state(caller: Caller, sessions: Sessions) -> None:
    hook = make(caller)
    first, second, third = (caller.post(path(hook, "/test")) for _ in range(3))
    assert (first.status_code, first.json["kind"], first.json["job_id"]) == (202, "webhook.test", None)
    with sessions.begin() as session:
        session.add(WebhookAttempt(delivery_id=uuid.UUID(first.json["id"]), number=1, seconds=0.25, error="timeout"))
        session.execute(
            text("UPDATE webhook_deliveries SET state = 'failed', tries = 1, finished_at = now() WHERE id = :id"),
            {"id": first.json["id"]},
        )
    (failed,) = deliveries(caller, hook["id"], "?state=failed")
    (attempt,) = failed["attempts"]
    assert attempt.pop("started_at")
    assert attempt == {"number": 1, "seconds": 0.25, "status_code": None, "error": "timeout"}
    assert (failed["tries"], failed["next_try_at"], failed["state"]) == (1, None, "failed")
    page = caller.get(path(hook, "/deliveries?limit=2")).json
    assert [item["id"] for item in page["items"]] == [third.json["id"], second.json["id"]]
    assert [item["id"] for item in deliveries(caller, hook["id"], f"?cursor={page['cursor']}")] == [failed["id"]]


def test_a_delivery_is_sent_again_under_its_id(caller: Caller, sessions: Sessions) -> None:
    hook = make(caller)
    sent = caller.post(path(hook, "/test")).json
    again = path(hook, f"/deliveries/{sent['id']}/redeliver")
    with sessions.begin() as session:
        session.execute(text("UPDATE webhook_deliveries SET state = 'delivered', tries = 1, finished_at = now()"))
    answer = caller.post(again)
    assert answer.status_code == 202
    assert (answer.json["state"], answer.json["message_id"]) == ("pending", sent["message_id"])
    assert answer.json["next_try_at"] is not None
    with sessions.begin() as session:
        session.execute(
            text("UPDATE webhook_deliveries SET lease_owner = 'd', lease_expires_at = now() + interval '1 minute'")
        )
    assert_problem(caller.post(again), 409, "conflict")


def test_a_disabled_webhook_sends_nothing(caller: Caller) -> None:
    hook = make(caller)
    sent = caller.post(path(hook, "/test")).json
    patch(caller, hook, enabled=False)
    assert_problem(caller.post(path(hook, "/test")), 409, "conflict")
    assert_problem(caller.post(path(hook, f"/deliveries/{sent['id']}/redeliver")), 409, "conflict")


def test_a_webhook_is_deleted_with_its_log(caller: Caller, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.webhooks.log.BATCH_ROWS", 2)
    kept, hook = make(caller, URL + "2"), make(caller)
    job = caller.submit(webhook={"url": URL})
    for target in (kept, *[hook] * 5):
        caller.post(path(target, "/test"))
    assert caller.delete(path(hook)).status_code == 204
    assert caller.delete(f"{HOOKS}/{job['webhook']['id']}").status_code == 204
    with sessions() as session:
        assert len(session.scalars(select(WebhookDelivery)).all()) == 1
        assert session.scalars(select(WebhookEndpoint.id)).all() == [uuid.UUID(kept["id"])]
    # What named it ends as ever, and nobody is told.
    caller.post(job["urls"]["cancel"])
    with sessions() as session:
        assert session.scalars(select(WebhookMessage.job_id).where(WebhookMessage.kind == "job.canceled")).all() == [
            uuid.UUID(job["id"])
        ], "only the endpoint that hears of everything"
    assert caller.get(job["urls"]["self"]).json["state"] == "canceled"


def test_secrets_are_in_no_log(caller: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    hook = make(caller)
    caller.get(path(hook, "/secret"))
    rotated = caller.post(path(hook, "/rotate")).json
    lines = "".join(capsys.readouterr())
    assert hook["id"] in lines or "/v1/webhooks" in lines
    for secret in (hook["secret"], rotated["secret"], "token=hush"):
        assert secret not in lines
