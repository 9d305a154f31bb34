"""The queries that grow stay on their indexes: EXPLAIN over 200,000 jobs, of which 150,000 wait."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from models.clients import Client
from models.jobs import Job, claim, expire_overdue, reap_lost, work_waits
from models.jobs.queries import JobFilter, get_job, get_states, list_jobs, place_in_queue
from models.session import Sessions
from models.states import JobState, Pool
from tests.models.explain import begins, explained, nodes
from tests.seeding import Seeder

JOBS = 200_000

SEED_SQL = text("""
INSERT INTO jobs (client_id, state, task, checkpoint_id, pool, params, tag, lane, priority, start_tag, cost, images,
                  batch_key, retention_seconds, created_at, finished_at, result, results_expire_at)
SELECT c.id, CASE WHEN n % 4 = 0 THEN 'succeeded' ELSE 'queued' END, 'text_to_image', :checkpoint, 'gpu',
       '{"prompt": "a cat"}', 'tag-' || (n % 50), (n % 10 = 0)::int, 0, n, 8, 1, 'key-' || (n % 200), 3600,
       now() - make_interval(secs => n), CASE WHEN n % 4 = 0 THEN now() END,
       CASE WHEN n % 4 = 0 THEN '{}'::jsonb END, CASE WHEN n % 4 = 0 THEN now() + interval '1 day' END
FROM generate_series(1, :jobs) AS n
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM clients) c ON c.place = n % 5
""")


@pytest.fixture
def plans(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """The plans of every statement that touches jobs, as Postgres explains them."""
    with explained(engine, lambda sent: "jobs" in sent and not begins(sent, "EXPLAIN", "INSERT", "VACUUM")) as found:
        yield found


def assert_indexed(plans: list[dict[str, Any]], *, index: str) -> None:
    """No sequential scan and no sort over jobs; and the index that was made for it."""
    assert plans
    every = [node for plan in plans for node in nodes(plan)]
    scans = [node for node in every if node["Node Type"] == "Seq Scan" and node.get("Relation Name") == "jobs"]
    assert not scans, scans
    used = {node.get("Index Name") for node in every}
    assert index in used, used
    big_sorts = [node for node in every if node["Node Type"] == "Sort" and node["Plan Rows"] > 1000]
    assert not big_sorts, big_sorts


def test_claim_list_and_poll_use_their_indexes(
    seed: Seeder, sessions: Sessions, engine: Engine, plans: list[dict[str, Any]]
) -> None:
    checkpoint = seed.checkpoint()
    clients = [seed.client() for _ in range(5)]
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(SEED_SQL, {"checkpoint": checkpoint.id, "jobs": JOBS})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs"))
    plans.clear()
    _check_claim(sessions, plans)
    _check_affinity(sessions, plans, seed.checkpoint("rare").id)
    _check_reads(sessions, plans, clients[0], checkpoint.id)
    _check_sweeps(sessions, plans)


def _check_claim(sessions: Sessions, plans: list[dict[str, Any]]) -> None:
    with sessions.begin() as session:
        batch = claim(session, pool=Pool.GPU, owner="w", max_images=8, lease_seconds=60)
        assert len(batch) == 8
    assert_indexed(plans, index="ix_jobs__claim")
    assert_indexed(plans, index="ix_jobs__claim_mates")
    plans.clear()
    with sessions.begin() as session:
        assert work_waits(session, Pool.GPU)
    assert_indexed(plans, index="ix_jobs__claim")
    plans.clear()


def _check_affinity(sessions: Sessions, plans: list[dict[str, Any]], resident: UUID) -> None:
    """A worker that holds a checkpoint of which nothing waits finds that out without walking the queue."""
    plans.clear()
    with sessions.begin() as session:
        options: dict[str, Any] = {"pool": Pool.GPU, "owner": "w", "max_images": 1, "lease_seconds": 60}
        assert claim(session, **options, resident=[resident], affinity_seconds=3600)
    assert_indexed(plans, index="ix_jobs__claim_checkpoint")


def _check_reads(sessions: Sessions, plans: list[dict[str, Any]], client: UUID, checkpoint: UUID) -> None:
    filters = {
        "ix_jobs__list": JobFilter(client_id=client),
        "ix_jobs__list_state": JobFilter(client_id=client, states=frozenset({JobState.FAILED})),
        "ix_jobs__list_tag": JobFilter(client_id=client, tag="tag-7"),
        "ix_jobs__list_task": JobFilter(client_id=client, task="class_to_image"),
        "ix_jobs__list_checkpoint": JobFilter(client_id=client, checkpoint="rare"),
        "ix_jobs__all": JobFilter(),
        "ix_jobs__all_state": JobFilter(states=frozenset({JobState.FAILED})),
    }
    with sessions() as session:
        assert session.get(Client, client) is not None
        for index, wanted in filters.items():
            plans.clear()
            page = list_jobs(session, wanted, limit=50)
            assert_indexed(plans[:1], index=index)
            if page.cursor:
                plans.clear()
                list_jobs(session, wanted, limit=50, cursor=page.cursor)
                assert_indexed(plans[:1], index=index)
        job = session.scalars(select(Job).where(Job.state == JobState.QUEUED).limit(1)).one()
        plans.clear()
        assert get_job(session, job.id, job.client_id, whole=False) is job
        get_states(session, [job.id])
        assert_indexed(plans, index="pk_jobs")
        plans.clear()
        place_in_queue(session, job)
        assert_indexed(plans, index="ix_jobs__claim")


def _check_sweeps(sessions: Sessions, plans: list[dict[str, Any]]) -> None:
    plans.clear()
    with sessions.begin() as session:
        reap_lost(session, max_crashes=3)
    assert_indexed(plans, index="ix_jobs__all_state")
    plans.clear()
    with sessions.begin() as session:
        expire_overdue(session)
    assert_indexed(plans, index="ix_jobs__deadline")
