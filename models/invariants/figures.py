"""The gauges beside the checks: how old the queues are, how much the dispatcher has to do, who sweeps."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.invariants.health import Figures
from models.invariants.table import Patience
from models.states import Pool

DUE_CAP = 10_000
OLDEST_LOOKED_AT = 1000
"""The oldest job of a pool is sought among this many of the oldest; else the head of its queue speaks for it."""

_QUEUES = text("""
WITH waiting AS (
    SELECT pool, available_at, deadline_at FROM jobs WHERE state = 'queued' ORDER BY created_at, id LIMIT :looked_at
), heads AS (
    SELECT head.* FROM (VALUES ('gpu'), ('cpu')) AS pool (name) CROSS JOIN LATERAL (
        SELECT jobs.pool, available_at, deadline_at FROM jobs
        WHERE state = 'queued' AND jobs.pool = pool.name AND available_at <= now()
            AND (deadline_at IS NULL OR deadline_at > now())
        ORDER BY lane, priority DESC, start_tag, id LIMIT 1
    ) AS head
)
SELECT pool, extract(epoch FROM now() - min(available_at)) AS seconds
FROM (SELECT * FROM waiting UNION ALL SELECT * FROM heads) AS job
WHERE available_at <= now() AND (deadline_at IS NULL OR deadline_at > now())
GROUP BY pool
""")

_DUE = text("""
SELECT count(*) AS due, extract(epoch FROM now() - min(available_at)) AS seconds FROM (
    SELECT available_at FROM webhook_deliveries
    WHERE state = 'pending' AND available_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at < now())
    LIMIT :cap
) AS delivery
""")

_DAEMONS = text("""
SELECT extract(epoch FROM now() - max(seen_at) FILTER (WHERE kind = 'sweeper')) AS sweep_age,
    count(*) FILTER (WHERE kind = 'sweeper' AND alive) AS sweepers,
    count(*) FILTER (WHERE kind = 'dispatcher' AND alive) AS dispatchers
FROM (SELECT *, seen_at > now() - make_interval(secs => :daemon_seconds) AS alive FROM daemons) AS daemon
""")


def read_figures(session: Session, patience: Patience) -> Figures:
    """All of them, as of this transaction."""
    queues = {row.pool: float(row.seconds) for row in session.execute(_QUEUES, {"looked_at": OLDEST_LOOKED_AT})}
    due = session.execute(_DUE, {"cap": DUE_CAP}).one()
    daemons = session.execute(_DAEMONS, {"daemon_seconds": patience.daemon}).one()
    return Figures(
        queue_oldest={pool: queues.get(pool.value) for pool in Pool},
        webhooks_due=due.due,
        webhooks_oldest=None if due.seconds is None else float(due.seconds),
        sweep_age=None if daemons.sweep_age is None else max(float(daemons.sweep_age), 0.0),
        sweepers=daemons.sweepers,
        dispatchers=daemons.dispatchers,
    )
