"""A flood of deliveries is claimed and settled by index."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.session import Sessions
from models.settings import Settings
from models.webhooks.claim import fail_disabled
from tests.models.explain import begins, explained, nodes
from tests.models.post import LEASE_SECONDS, Post
from tests.seeding import Seeder


@pytest.fixture
def post(sessions: Sessions, seed: Seeder, settings: Settings) -> Post:
    return Post(sessions, seed, settings)


FLOOD_SQL = text("""
WITH message AS (
    INSERT INTO webhook_messages (kind, payload) SELECT 'webhook.test', '{}' FROM generate_series(1, 20000) RETURNING id
)
INSERT INTO webhook_deliveries (message_id, endpoint_id) SELECT id, :endpoint FROM message
""")


@pytest.fixture
def plans(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """The plans of every statement over deliveries."""
    with explained(
        engine, lambda sent: "webhook_deliveries" in sent and begins(sent, "SELECT", "WITH", "UPDATE")
    ) as found:
        yield found


def test_a_flood_is_claimed_and_settled_by_index(post: Post, engine: Engine, plans: list[dict[str, Any]]) -> None:
    flooded = post.endpoint()
    others = [post.endpoint(f"https://example.com/{number}") for number in range(20)]
    with engine.begin() as connection:
        connection.execute(FLOOD_SQL, {"endpoint": flooded})
    for other in others:
        post.send(other)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE webhook_deliveries, webhook_endpoints, webhook_messages"))
    plans.clear()

    claimed = post.claim(limit=32)
    post.take(claimed[0].hold)
    post.fail(claimed[1].hold)
    with post.sessions.begin() as session:
        fail_disabled(session, limit=100, lease_seconds=LEASE_SECONDS)

    assert len(claimed) == 24
    every = [node for plan in plans for node in nodes(plan)]
    scans = [node for node in every if node["Node Type"] == "Seq Scan" and "deliver" in node["Relation Name"]]
    assert not scans, scans
    assert "ix_webhook_deliveries__due" in {node.get("Index Name") for node in every}
    sorts = [
        node for node in every if node["Node Type"] == "Sort" and node["Plan Rows"] > 5000
    ]  # the whole flood, not one turn of it
    assert not sorts, sorts
