"""Claims of eight from tables of a hundred and of 200,000 waiting jobs: the cost must not grow with the queue."""

import statistics
import time

from sqlalchemy import Engine, text

from bench.report import Figure, spread
from bench.stack import Stack
from models.jobs import claim
from models.session import make_engine, make_sessions
from models.states import Pool

CLAIMS = 50
BATCH = 8

FILL = text("""
INSERT INTO jobs (client_id, state, task, checkpoint_id, pool, params, lane, priority, start_tag, cost, images,
                  batch_key, retention_seconds)
SELECT (SELECT id FROM clients LIMIT 1), 'queued', 'text_to_image', (SELECT id FROM checkpoints LIMIT 1), 'gpu',
       '{"prompt": "a cat"}', 0, 0, n, 8, 1, 'key-' || (n % 200), 3600
FROM generate_series(1, :jobs) AS n
""")


def claim_cost(stack: Stack) -> list[Figure]:
    """Median milliseconds of a claim, commit included. Leaves the private installation without jobs."""
    engine = make_engine(stack.settings, application="bench")
    try:
        small = _measure(engine, 1_000)
        large = _measure(engine, 200_000)
    finally:
        engine.dispose()
    return [
        Figure(
            "claim of 8 from 200,000 jobs",
            statistics.median(large),
            "ms",
            statistics.median(small),
            "from 1,000 jobs",
            "< 10 ms",
            spread(large),
        )
    ]


def _measure(engine: Engine, jobs: int) -> list[float]:
    sessions = make_sessions(engine)
    with sessions.begin() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("DELETE FROM jobs"))
        session.execute(FILL, {"jobs": jobs})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE jobs"))
        connection.execute(text("RESET statement_timeout"))
    found = []
    for _ in range(CLAIMS):
        began = time.monotonic()
        with sessions.begin() as session:
            batch = claim(session, pool=Pool.GPU, owner="bench", max_images=BATCH, lease_seconds=3600)
        found.append(1000 * (time.monotonic() - began))
        # A key of this table has few jobs when the table is small; the last claims may find fewer mates.
        assert batch
    with sessions.begin() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("TRUNCATE jobs CASCADE"))
    return found
