"""One client never sees another's things, on any route; and what each role may do with other clients' things."""

import httpx
import pytest
from flask import Flask

from models.session import Sessions
from models.states import Role
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.helpers import succeed
from tests.seeding import Seeder

ANSWERED_WITHOUT_AN_ID = frozenset({"/v1/checkpoints/<name>", "/v1/clients/<name>", "/v1/keys/<key_id>"})


def test_every_route_with_an_id_is_404_for_another_client(
    app: Flask, caller: Caller, stranger: Caller, seed: Seeder, sessions: Sessions, storage: Storage, picture: bytes,
    subtests: pytest.Subtests,
) -> None:  # fmt: skip
    job = caller.submit()
    succeed(seed, sessions, storage)
    artifact = caller.get(job["urls"]["self"]).json["artifacts"][0]
    upload = caller.upload(picture).json
    link = caller.post("/v1/uploads/links", {"kind": "picture", "size_bytes": len(picture)}).json
    assert httpx.post(link["url"], data=link["fields"], files={"file": picture}).status_code == 204
    hook = caller.post("/v1/webhooks", {"url": "https://example.com/"}).json
    delivery = caller.post(f"/v1/webhooks/{hook['id']}/test").json
    known = {"job_id": job["id"], "artifact_id": artifact["id"], "upload_id": upload["id"]}
    known |= {"link_id": link["id"]}
    known |= {"webhook_id": hook["id"], "delivery_id": delivery["id"]}
    tried = 0
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/v1/") or not rule.arguments or rule.rule in ANSWERED_WITHOUT_AN_ID:
            continue
        path = rule.rule.replace("<uuid:", "<")
        for name, value in known.items():
            path = path.replace(f"<{name}>", value)
        assert "<" not in path, f"{rule.rule}: teach this test about it"
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            with subtests.test(method=method, rule=rule.rule):
                answer = stranger(method, path)
                assert (answer.status_code, answer.json["code"]) == (404, "not_found")
                tried += 1
    assert tried == 23
    assert caller.get(job["urls"]["self"]).json["state"] == "succeeded"
    assert caller.get(f"/v1/uploads/{upload['id']}").status_code == 200
    assert caller.get(f"/v1/webhooks/{hook['id']}").json["enabled"] is True


def test_only_operators_and_admins_change_other_clients_jobs(
    app: Flask, callers: dict[Role, Caller], stranger: Caller, seed: Seeder
) -> None:
    seed.checkpoint()
    job = stranger.submit()
    viewer, operator = callers[Role.VIEWER], callers[Role.OPERATOR]
    assert viewer.get(job["urls"]["self"]).status_code == 200
    assert viewer.post(job["urls"]["cancel"]).status_code == 403
    assert operator.post(job["urls"]["cancel"]).json["state"] == "canceled"
    retried = operator.post(job["urls"]["retry"]).json
    # The retry belongs to the client whose job it was, a clone to whoever asked for it.
    assert stranger.get(retried["urls"]["self"]).status_code == 200
    cloned = operator.post(f"{job['urls']['self']}/clone").json
    assert stranger.get(cloned["urls"]["self"]).status_code == 404


def test_idempotency_keys_of_two_clients_do_not_meet(caller: Caller, stranger: Caller) -> None:
    from tests.api.conftest import PROMPT

    headers = {"Idempotency-Key": "k"}
    ours, theirs = (who.post("/v1/jobs", PROMPT, headers=headers).json["id"] for who in (caller, stranger))
    assert ours != theirs
