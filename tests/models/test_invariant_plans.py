"""The invariant monitor stays on the indexes: EXPLAIN over 200,000 jobs with their events, attempts and artifacts."""

from typing import Any

from sqlalchemy import Engine, text

from models.invariants import examine
from models.session import Sessions
from models.settings import Settings
from tests.models.explain import nodes
from tests.models.living import names, sweeper_alive
from tests.models.test_plans import JOBS, SEED_SQL, plans
from tests.seeding import Seeder

__all__ = ["plans"]

LIVES = (
    """INSERT INTO job_events (job_id, kind, data)
    SELECT id, 'job.' || kind, '{}' FROM jobs, unnest(ARRAY['queued', 'running', 'succeeded']) AS kind
    WHERE kind = 'queued' OR state = 'succeeded'""",
    """INSERT INTO attempts (job_id, number, worker, batch_jobs, outcome, finished_at)
    SELECT id, 1, 'w', 1, 'succeeded', now() FROM jobs WHERE state = 'succeeded'""",
    """INSERT INTO artifacts (job_id, attempt, index, key, sha256, media_type, size_bytes, width, height, seed)
    SELECT id, 1, 0, id::text, 'x', 'image/png', 7, 8, 8, 7 FROM jobs WHERE state = 'succeeded'""",
    "UPDATE jobs SET attempt = 1, result = '{\"images\": 1, \"attempt\": 1}' WHERE state = 'succeeded'",
    """UPDATE clients SET live_jobs = (
        SELECT count(*) FROM jobs WHERE client_id = clients.id AND state = 'queued')""",
    """INSERT INTO webhook_endpoints (client_id, url, scope, events, secret, changed_at)
    SELECT id, 'https://example.org/', 'all', '["job.succeeded"]', 'whsec_x', now() - interval '1 day' FROM clients""",
    """INSERT INTO webhook_messages (job_id, kind, payload)
    SELECT id, 'job.succeeded', '{}' FROM jobs WHERE state = 'succeeded'""",
    """INSERT INTO webhook_deliveries (message_id, endpoint_id, state, finished_at)
    SELECT message.id, endpoint.id, 'delivered', now() FROM webhook_messages AS message
    JOIN jobs ON jobs.id = message.job_id JOIN webhook_endpoints AS endpoint ON endpoint.client_id = jobs.client_id""",
)
BIG = {"jobs", "job_events", "attempts", "artifacts", "webhook_messages", "webhook_deliveries"}


def test_an_examination_walks_indexes_alone(
    seed: Seeder, sessions: Sessions, engine: Engine, settings: Settings, plans: list[dict[str, Any]]
) -> None:
    checkpoint = seed.checkpoint()
    for _ in range(5):
        seed.client()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(SEED_SQL, {"checkpoint": checkpoint.id, "jobs": JOBS})
        for statement in LIVES:
            connection.execute(text(statement))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("RESET statement_timeout"))
    sweeper_alive(sessions)
    plans.clear()

    health = examine(sessions, settings)

    assert names(health) <= {"no_worker"}
    assert len(plans) > 10
    every = [node for plan in plans for node in nodes(plan)]
    scans = [node for node in every if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in BIG]
    assert not scans, scans
    big_sorts = [node for node in every if node["Node Type"] == "Sort" and node["Plan Rows"] > 10_000]
    assert not big_sorts, big_sorts
