"""Lists of jobs: filters, and a cursor that neither skips nor repeats while new jobs come in."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from models.session import Sessions
from models.states import Role
from models.storage import Storage
from tests.api.conftest import Caller
from tests.api.helpers import succeed
from tests.seeding import Seeder


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json["items"]]


def test_filters_narrow_and_combine(caller: Caller, seed: Seeder, sessions: Sessions, storage: Storage) -> None:
    seed.checkpoint("other")
    plain, tagged, elsewhere = caller.submit(), caller.submit(tag="a tag"), caller.submit(checkpoint="other")
    done = str(succeed(seed, sessions, storage))
    assert done == plain["id"]
    caller.post(elsewhere["urls"]["cancel"])
    everything = [elsewhere["id"], tagged["id"], plain["id"]]
    expected = {
        "": everything,
        "state=succeeded": [plain["id"]],
        "state=succeeded&state=canceled": [elsewhere["id"], plain["id"]],
        "tag=a%20tag": [tagged["id"]],
        "tag=a": [],
        "checkpoint=other": [elsewhere["id"]],
        "checkpoint=nobody": [],
        "task=text_to_image": everything,
        "task=class_to_image": [],
        "tag=a%20tag&state=succeeded": [],
    }
    for query, wanted in expected.items():
        assert ids(caller.get(f"/v1/jobs?{query}")) == wanted, query
    item = caller.get("/v1/jobs?state=succeeded").json["items"][0]
    assert len(item["artifacts"]) == 1
    assert "attempts" not in item


def test_a_checkpoint_is_found_by_name_over_its_revisions(caller: Caller, seed: Seeder) -> None:
    from models.checkpoints import FileManifest

    first = caller.submit()
    seed.checkpoint(manifest=FileManifest({"new.safetensors": {"sha256": "new", "size_bytes": 1}}))
    import time

    time.sleep(1.1)  # the card is remembered for a second
    second = caller.submit()
    assert first["checkpoint"]["revision"] != second["checkpoint"]["revision"]
    assert ids(caller.get("/v1/jobs?checkpoint=tiny")) == [second["id"], first["id"]]


def test_times_bound_the_list(caller: Caller, sessions: Sessions) -> None:
    old, new = caller.submit(), caller.submit()
    with sessions.begin() as session:
        session.execute(
            text("UPDATE jobs SET created_at = created_at - interval '1 day' WHERE id = :id"), {"id": old["id"]}
        )
    border = (datetime.fromisoformat(new["created_at"]) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert ids(caller.get(f"/v1/jobs?created_after={border}")) == [new["id"]]
    assert ids(caller.get(f"/v1/jobs?created_before={border}")) == [old["id"]]
    exact = new["created_at"]
    assert ids(caller.get(f"/v1/jobs?created_after={exact}")) == [new["id"]]
    assert ids(caller.get(f"/v1/jobs?created_before={exact}")) == [old["id"]]


def test_the_cursor_neither_skips_nor_repeats_when_jobs_come_in(
    caller: Caller, seed: Seeder, sessions: Sessions
) -> None:
    checkpoint = seed.checkpoint("many")
    made = [str(seed.job(caller.client_id, checkpoint)) for _ in range(7)]
    with sessions.begin() as session:
        # All at the same moment: only the id tells them apart.
        session.execute(text("UPDATE jobs SET created_at = '2026-01-01T00:00:00Z'"))
    seen: list[str] = []
    cursor = ""
    for page in range(10):
        answer = caller.get(f"/v1/jobs?checkpoint=many&limit=2{cursor}")
        seen += ids(answer)
        caller.submit(checkpoint="many", tag=f"late {page}")
        if answer.json["cursor"] is None:
            break
        cursor = f"&cursor={answer.json['cursor']}"
    assert seen == sorted(made, reverse=True)


def test_operators_see_every_clients_jobs(callers: dict[Role, Caller], stranger: Caller, seed: Seeder) -> None:
    seed.checkpoint()
    ours, theirs = callers[Role.CLIENT].submit(), stranger.submit()
    assert ids(callers[Role.CLIENT].get("/v1/jobs")) == [ours["id"]]
    for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        assert ids(callers[role].get("/v1/jobs")) == [theirs["id"], ours["id"]]
