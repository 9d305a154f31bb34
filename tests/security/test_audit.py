"""The audit log: who did what to whom, in the transaction of the deed. `test_doors` shows that no deed is forgotten."""

from flask import Flask
from sqlalchemy import event, func, select, text

from api.services import Services
from models.audit import Actor, AuditEntry, audit
from models.session import Sessions
from models.states import Role
from tests.api.conftest import Caller
from tests.seeding import Seeder


def entries(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_an_entry_says_who_what_to_whom_and_how(callers: dict[Role, Caller], stranger: Caller, seed: Seeder) -> None:
    seed.checkpoint()
    operator, admin = callers[Role.OPERATOR], callers[Role.ADMIN]
    job = stranger.submit()
    operator.post(job["urls"]["cancel"])
    admin("PATCH", "/v1/clients/stranger", json={"weight": 3.0})
    newest, older = admin.get("/v1/audit").json["items"]
    assert (newest["action"], newest["subject"], newest["role"]) == ("client.set", "stranger", "admin")
    assert newest["data"] == {"weight": {"from": 1.0, "to": 3.0}}
    assert (older["action"], older["subject"], older["role"]) == ("job.cancel", job["id"], "operator")
    assert (older["client"], older["key_id"]) == ("house", operator.key.split("_")[1])
    assert older["data"] == {"client_id": str(stranger.client_id)}
    assert older["created_at"] <= newest["created_at"]


def test_one_subject_and_pages(callers: dict[Role, Caller], seed: Seeder) -> None:
    admin = callers[Role.ADMIN]
    seed.client("shop")
    for weight in (1.0, 2.0, 3.0, 4.0):
        admin("PATCH", "/v1/clients/shop", json={"weight": weight})
        admin("PATCH", "/v1/clients/house", json={"weight": weight})
    seen, cursor = [], ""
    while True:
        page = admin.get(f"/v1/audit?subject=shop&limit=3{cursor}").json
        seen += [entry["data"]["weight"]["to"] for entry in page["items"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert seen == [4.0, 3.0, 2.0, 1.0]
    assert admin.get("/v1/audit?cursor=x").status_code == 422


def test_what_is_rolled_back_was_not_done(sessions: Sessions) -> None:
    with sessions() as session:
        audit(session, Actor("k", "c", Role.ADMIN), "key.revoke", "x")
        session.flush()
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1
        session.rollback()
    assert entries(sessions) == 0


def test_a_deed_that_cannot_be_written_down_is_not_done(
    api: Services, callers: dict[Role, Caller], stranger: Caller, seed: Seeder, sessions: Sessions
) -> None:
    """The other way round: the log refuses, so nothing happens."""
    seed.checkpoint()
    job = stranger.submit()
    with sessions.begin() as session:
        session.execute(text("ALTER TABLE audit_log ADD CONSTRAINT shut CHECK (false)"))
    operator, admin = callers[Role.OPERATOR], callers[Role.ADMIN]
    key_id = stranger.key.split("_")[1]
    assert operator.post(job["urls"]["cancel"]).status_code >= 400
    assert operator.delete(job["urls"]["self"]).status_code >= 400
    assert admin.delete(f"/v1/keys/{key_id}").status_code >= 400
    assert admin("PATCH", "/v1/clients/stranger", json={"weight": 3.0}).status_code >= 400
    assert admin.delete("/v1/checkpoints/tiny").status_code >= 400
    assert stranger.get(job["urls"]["self"]).json["state"] == "queued"
    assert admin.get("/v1/clients/stranger").json["weight"] == 1.0
    assert stranger.get("/v1/checkpoints/tiny").status_code == 200
    # One's own things need no log.
    assert stranger.post(job["urls"]["cancel"]).status_code == 200
    retried = operator.post(job["urls"]["retry"])
    assert retried.status_code >= 400
    assert len(stranger.get("/v1/jobs").json["items"]) == 1


def test_a_deed_that_fails_leaves_no_entry(callers: dict[Role, Caller], sessions: Sessions) -> None:
    admin = callers[Role.ADMIN]
    for method, path in (
        ("DELETE", "/v1/keys/nothing"),
        ("DELETE", "/v1/checkpoints/nothing"),
        ("PATCH", "/v1/clients/nothing"),
        ("POST", "/v1/jobs/00000000-0000-7000-8000-000000000000/cancel"),
        ("DELETE", "/v1/uploads/00000000-0000-7000-8000-000000000000"),
    ):
        assert admin(method, path, **({"json": {}} if method == "PATCH" else {})).status_code == 404
    assert entries(sessions) == 0


def test_the_entry_and_the_deed_are_one_transaction(
    app: Flask, api: Services, callers: dict[Role, Caller], stranger: Caller, seed: Seeder
) -> None:
    """Between BEGIN and COMMIT stand both; there is no second commit in which one could be lost."""
    seed.checkpoint()
    job = stranger.submit()
    told: list[str] = []
    operator = callers[Role.OPERATOR]
    operator.get("/v1/me")
    event.listen(api.engine, "before_cursor_execute", lambda _c, _k, statement, *_: told.append(statement.split()[0:3]))
    event.listen(api.engine, "commit", lambda _c: told.append(["COMMIT"]))
    operator.post(job["urls"]["cancel"])
    words = [" ".join(entry) for entry in told]
    assert words.index("UPDATE jobs SET") < words.index("COMMIT")
    assert words.index("INSERT INTO audit_log") < words.index("COMMIT")


def test_no_route_changes_or_deletes_an_entry(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if "audit" in rule.rule]
    assert {method for rule in rules for method in rule.methods or ()} == {"GET", "HEAD", "OPTIONS"}
