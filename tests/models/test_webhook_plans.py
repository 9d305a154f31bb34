"""The outbox costs the same however many webhooks there are: EXPLAIN over 20,000 endpoints and 100,000 deliveries."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from models.session import Sessions
from models.webhooks import DeliveryState
from models.webhooks.endpoints import find_named, list_endpoints
from models.webhooks.log import forget_deliveries, forget_old, list_deliveries
from models.webhooks.outbox import enqueue
from tests.models.explain import begins, explained, nodes
from tests.seeding import Seeder

TABLES = ("jobs", "webhook_endpoints", "webhook_messages", "webhook_deliveries")
SEED_SQL = (
    "INSERT INTO clients (name, max_live_jobs) SELECT 'many-' || n, 9 FROM generate_series(1, 5000) AS n",
    """INSERT INTO webhook_endpoints (client_id, url, scope, events, secret)
       SELECT clients.id, 'https://example.com/' || n, CASE WHEN n < 2 THEN 'all' ELSE 'named' END, '["job.failed"]', ''
       FROM clients, generate_series(0, 3) AS n""",
    """INSERT INTO jobs (client_id, state, task, checkpoint_id, pool, params, lane, priority, start_tag, cost, images,
                         batch_key, retention_seconds, webhook_endpoint_id)
       SELECT client_id, 'queued', 'text_to_image', :checkpoint, 'gpu', '{}', 0, 0, 0, 1, 1, '', 1, id
       FROM webhook_endpoints""",
    """INSERT INTO webhook_messages (id, kind, payload)
       SELECT uuidv7(make_interval(days => -n % 29)), 'webhook.test', '{}' FROM generate_series(1, 100000) AS n""",
    """INSERT INTO webhook_deliveries (message_id, endpoint_id, state, finished_at)
       SELECT id, CASE WHEN row_number() OVER () % 100 = 0 THEN CAST(:endpoint AS uuid) ELSE CAST(:busy AS uuid) END,
              'delivered', now() FROM webhook_messages""",
)


@pytest.fixture
def plans(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """The plan of every statement, as Postgres explains it with the values that were sent."""
    with explained(engine, lambda sent: not begins(sent, "EXPLAIN", "INSERT", "SET", "VACUUM")) as found:
        yield found


def indexes(plans: list[dict[str, Any]]) -> set[str]:
    """What they read by; no table is read through, and nothing long is sorted."""
    every = [node for plan in plans for node in nodes(plan)]
    assert every
    through = [node for node in every if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in TABLES]
    assert not through, json.dumps(plans)
    assert not [node for node in every if node["Node Type"] == "Sort" and node["Plan Rows"] > 1000]
    return {node["Index Name"] for node in every if "Index Name" in node}


def test_the_outbox_and_the_log_use_their_indexes(
    seed: Seeder, sessions: Sessions, engine: Engine, plans: list[dict[str, Any]]
) -> None:
    checkpoint, client = seed.checkpoint(), seed.client()
    with sessions.begin() as session:
        endpoint, busy = (_endpoint(session.execute, client, f"https://example.com/{name}") for name in ("a", "b"))
        session.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in SEED_SQL:
            session.execute(text(statement), {"checkpoint": checkpoint.id, "endpoint": endpoint, "busy": busy})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM ANALYZE {', '.join(TABLES)}, clients, checkpoints"))
    job = seed.job(client, checkpoint)

    def plan(verb: Callable[..., Any], *arguments: Any, **more: Any) -> set[str]:
        plans.clear()
        with sessions() as session:
            verb(session, *arguments, **more)
        return indexes(plans)

    by_client_and_by_name = {"pk_jobs", "uq_webhook_endpoints__all_url", "ix_webhook_endpoints__client"}
    assert by_client_and_by_name <= plan(enqueue, [job], "job.failed")
    assert by_client_and_by_name <= plan(enqueue, [job] * 8, "job.running")
    assert "uq_webhook_endpoints__named_url" in plan(find_named, client, "https://example.com/3")
    assert "ix_webhook_endpoints__client" in plan(list_endpoints, client, limit=50)
    assert "ix_webhook_deliveries__endpoint" in plan(list_deliveries, endpoint, limit=50)
    failed = plan(list_deliveries, endpoint, limit=50, state=DeliveryState.FAILED)
    assert "ix_webhook_deliveries__endpoint_state" in failed
    assert "pk_webhook_messages" in plan(forget_old, days=30)
    assert plan(forget_deliveries, endpoint)


def _endpoint(execute: Callable[..., Any], client: UUID, url: str) -> UUID:
    add = """INSERT INTO webhook_endpoints (client_id, url, scope, events, secret)
             VALUES (:client, :url, 'all', '["job.failed"]', '') RETURNING id"""
    return UUID(str(execute(text(add), {"client": client, "url": url}).scalar_one()))
