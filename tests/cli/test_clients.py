"""Clients and the audit log."""

from typing import Any

from tests.cli.conftest import Run, document
from tests.client.fake import Answer, FakeApi

SHOP: dict[str, Any] = {
    "name": "shop",
    "weight": 2.0,
    "max_live_jobs": 500,
    "max_priority": 10,
    "live_jobs": 3,
    "created_at": "2026-11-21T22:54:00+00:00",
}
ENTRY: dict[str, Any] = {
    "id": 7,
    "created_at": "2026-11-21T22:54:00+00:00",
    "key_id": "0123456789ab",
    "client": "admin",
    "role": "admin",
    "action": "client.set",
    "subject": "shop",
    "data": {"weight": {"from": 1.0, "to": 2.0}},
}


def test_clients_are_listed_over_all_pages(fake: FakeApi, run: Run) -> None:
    pages = ({"items": [SHOP], "cursor": "shop"}, {"items": [{**SHOP, "name": "zoo"}], "cursor": None})
    fake.script("GET", "/v1/clients", *(Answer(json=page) for page in pages))

    listed = run("clients", "ls").stdout

    assert "shop" in listed
    assert "zoo" in listed
    assert [seen.query.get("cursor") for seen in fake.seen] == [None, "shop"]


def test_only_what_was_said_is_changed(fake: FakeApi, run: Run) -> None:
    fake.script("PATCH", "/v1/clients/shop", Answer(json=SHOP))

    result = run("clients", "set", "shop", "--weight", "2", "--max-priority", "10")

    assert fake.seen[0].json == {"weight": 2.0, "max_priority": 10}
    assert result.stdout == "shop: weight 2.0, max_live_jobs 500, max_priority 10, safety_threshold None\n"
    assert document(run("clients", "set", "shop", "--max-live-jobs", "500", "--json")) == SHOP


def test_a_change_of_nothing_is_wrong_usage(fake: FakeApi, run: Run) -> None:
    assert run("clients", "set", "shop").exit_code == 2
    assert fake.seen == []


def test_the_audit_log_says_who_did_what(fake: FakeApi, run: Run) -> None:
    fake.script("GET", "/v1/audit", Answer(json={"items": [ENTRY], "cursor": "7"}))

    listed = run("audit", "shop", "--limit", "1").stdout

    assert "admin (0123456789ab)" in listed
    assert "client.set" in listed
    assert fake.seen[0].query == {"subject": "shop", "limit": "1"}
    assert len(fake.seen) == 1
    assert document(run("audit", "--limit", "1", "--json"))["items"] == [ENTRY]


def test_filters_are_set_and_taken_away(fake: FakeApi, run: Run) -> None:
    fake.script("PATCH", "/v1/clients/shop", Answer(json=SHOP))
    run("clients", "set", "shop", "--safety", "0.8", "--block", "gun*", "--block", "sword")
    run("clients", "set", "shop", "--safety", "off", "--no-block")
    assert [seen.json for seen in fake.seen] == [
        {"safety_threshold": 0.8, "blocked_words": ["gun*", "sword"]},
        {"safety_threshold": None, "blocked_words": []},
    ]
    assert run("clients", "set", "shop", "--safety", "high").exit_code == 2
