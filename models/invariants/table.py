"""The checks, as a table: name, severity, promise, advice, and the SQL that finds what breaks it.

Every statement is cheap at a million jobs: it walks an index for a bounded number of rows. What must hold of *every*
job is checked on the newest (`:ids`) and on all that run. None of them may cry wolf: each leaves what is normal its
time (`Patience`), and after a break of the sweeper's or of Postgres' the time counts from its end.
"""

from dataclasses import dataclass
from typing import Any

from models.invariants.health import Invariant, Severity
from models.settings import Settings

MOST = 1000
"""Rows of one check; whoever has more has enough to look at."""
COUNTED_JOBS = 50_000
"""Live jobs that one examination counts; beyond that each takes other clients, so that all have their turn."""
DELIVERY_SECONDS = 300.0
BEATS_PER_LEASE = 4
"""As `worker.lease` beats."""


@dataclass(frozen=True)
class Patience:
    """How long what is normal may take, in seconds."""

    lease: float
    reap: float
    """From the end of a lease, or from when a sweeper can work again, until it is noticed."""
    daemon: float
    """Between two signs of life of a sweeper or dispatcher."""
    idle: float
    """Until a worker that has nothing to do is woken for work that waits."""
    delivery: float = DELIVERY_SECONDS

    @classmethod
    def of(cls, settings: Settings) -> "Patience":
        """Worst cases of the protocol with these settings, and a heartbeat or two."""
        lease, sweep = settings.lease_seconds, settings.sweep_seconds
        beat = lease / BEATS_PER_LEASE
        return cls(lease, reap=lease + 2 * sweep + beat, daemon=3 * sweep + 2 * beat, idle=2 * sweep + 2 * beat)

    def parameters(self) -> dict[str, Any]:
        """As the statements name them."""
        return {f"{name}_seconds": value for name, value in vars(self).items()}


COMMON = """
WITH swept AS (
    SELECT greatest(min(working_since), pg_postmaster_start_time()) AS since FROM daemons
    WHERE kind = 'sweeper' AND seen_at > now() - make_interval(secs => :daemon_seconds)
), head AS (
    SELECT pools.pool, first.available_at, greatest(first.available_at, pg_postmaster_start_time()) AS since
    FROM (VALUES ('gpu'), ('cpu')) AS pools (pool) CROSS JOIN LATERAL (
        SELECT available_at FROM jobs
        WHERE state = 'queued' AND jobs.pool = pools.pool AND available_at <= now()
            AND (deadline_at IS NULL OR deadline_at > now())
        ORDER BY lane, priority DESC, start_tag, id LIMIT 1
    ) AS first
), turn AS (
    SELECT id, name, live_jobs, sum(live_jobs + 10) OVER (ORDER BY md5(id::text || :turn)) - live_jobs - 10 AS before
    FROM clients
)
"""
"""What several checks begin with: since when a sweeper works, the heads of the queues, whose counters are counted.

Postgres runs of it what the check refers to.
"""

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "running_past_lease",
        Severity.BROKEN,
        "A running job's lease is extended by its worker, or taken back by a sweeper.",
        "Start a scheduler (python -m worker.sweeper), or read in its log why it does not reap.",
        """SELECT id::text AS subject, extract(epoch FROM now() - lease_expires_at) AS seconds FROM jobs, swept
        WHERE state = 'running' AND now() - make_interval(secs => :reap_seconds)
            > greatest(lease_expires_at, swept.since)
        ORDER BY lease_expires_at""",
    ),
    Invariant(
        "past_deadline",
        Severity.BROKEN,
        "A queued job expires when its deadline passes.",
        "Start a scheduler (python -m worker.sweeper), or read in its log why it does not expire jobs.",
        """SELECT id::text AS subject, extract(epoch FROM now() - deadline_at) AS seconds FROM jobs, swept
        WHERE state = 'queued' AND deadline_at < now() - make_interval(secs => :reap_seconds)
            AND swept.since < now() - make_interval(secs => :reap_seconds)
        ORDER BY deadline_at""",
    ),
    Invariant(
        "no_sweeper",
        Severity.BROKEN,
        "A sweeper is alive: it finds lost jobs and sends lost tickets again.",
        "Start a scheduler: python -m worker.sweeper. Two may run.",
        """SELECT 'last seen ' || coalesce(max(seen_at)::text, 'never') AS subject,
            extract(epoch FROM now() - max(seen_at)) AS seconds
        FROM daemons WHERE kind = 'sweeper'
        HAVING greatest(max(seen_at), pg_postmaster_start_time())
            < now() - make_interval(secs => :daemon_seconds)""",
    ),
    Invariant(
        "queue_stalled",
        Severity.BROKEN,
        "A worker that has nothing to do is woken for work that waits.",
        "See whether workers and scheduler reach Redis; a restart of the workers looks for work at once.",
        """SELECT head.pool AS subject, extract(epoch FROM now() - head.available_at) AS seconds FROM head
        WHERE head.since < now() - make_interval(secs => :idle_seconds)
            AND EXISTS (
                SELECT FROM workers WHERE workers.pool = head.pool AND info ->> 'phase' = 'idle'
                    AND seen_at > now() - make_interval(secs => :lease_seconds)
                    AND started_at < now() - make_interval(secs => :idle_seconds))
            AND NOT EXISTS (SELECT FROM jobs WHERE state = 'running' AND jobs.pool = head.pool)
            AND NOT EXISTS (
                SELECT FROM (SELECT * FROM job_events ORDER BY id DESC LIMIT :newest) AS event
                JOIN jobs ON jobs.id = event.job_id
                WHERE event.kind = 'job.running' AND jobs.pool = head.pool
                    AND event.created_at > now() - make_interval(secs => :idle_seconds))""",
    ),
    Invariant(
        "no_worker",
        Severity.WARNING,
        "Where work waits, a worker is alive.",
        "Start a worker of this pool: celery -A worker.app worker -Q <pool> …, or safelight up.",
        """SELECT head.pool AS subject, extract(epoch FROM now() - head.available_at) AS seconds FROM head
        WHERE head.since < now() - make_interval(secs => :idle_seconds)
            AND NOT EXISTS (
                SELECT FROM workers WHERE workers.pool = head.pool
                    AND seen_at > now() - make_interval(secs => :lease_seconds))""",
    ),
    Invariant(
        "waiting_for_nothing",
        Severity.BROKEN,
        "A waiting job needs the output of one that has not ended.",
        "A bug of Safelight: please report it with the events of the job and of those it needs. Cancel it meanwhile.",
        """SELECT job.id::text AS subject, extract(epoch FROM now() - job.created_at) AS seconds
        FROM (SELECT id, created_at FROM jobs WHERE state = 'waiting' ORDER BY created_at, id LIMIT :newest) AS job
        WHERE NOT EXISTS (
            SELECT FROM job_needs JOIN jobs AS needed ON needed.id = job_needs.needs_id
            WHERE job_needs.job_id = job.id AND needed.state = ANY (:live))""",
    ),
    Invariant(
        "client_counters",
        Severity.BROKEN,
        "A client's live_jobs counts its waiting, queued and running jobs.",
        "A bug of Safelight: please report it. Until then set clients.live_jobs to what is counted.",
        """SELECT turn.name || ': says ' || turn.live_jobs || ', has '
            || CASE WHEN found.live > turn.live_jobs THEN 'more' ELSE found.live::text END AS subject,
            NULL::float AS seconds
        FROM turn CROSS JOIN LATERAL (
            SELECT count(*) AS live FROM (
                SELECT FROM jobs WHERE client_id = turn.id AND state = ANY (:live)
                LIMIT turn.live_jobs + 1
            ) AS counted
        ) AS found
        WHERE turn.before < :counted AND found.live <> turn.live_jobs""",
    ),
    Invariant(
        "attempts",
        Severity.BROKEN,
        "A running job has one running attempt, its newest; a succeeded one has one that succeeded; others none.",
        "A bug of Safelight: please report it with the job's attempts and events.",
        """SELECT job.id::text AS subject, NULL::float AS seconds
        FROM jobs AS job CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(number) FILTER (WHERE outcome = 'running'), '{}') AS running,
                count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded
            FROM attempts WHERE job_id = job.id
        ) AS found
        WHERE job.id = ANY (:ids) AND (
            found.running <> CASE WHEN job.state = 'running' THEN ARRAY[job.attempt] ELSE '{}' END
            OR found.succeeded <> (job.state = 'succeeded')::int)""",
    ),
    Invariant(
        "artifacts",
        Severity.BROKEN,
        "A succeeded job has all artifacts that it was published with, of the attempt that succeeded.",
        "A bug of Safelight: please report it with the job's attempts and events.",
        """SELECT job.id::text AS subject, NULL::float AS seconds FROM jobs AS job
        WHERE job.id = ANY (:ids) AND job.state = 'succeeded' AND job.results_deleted_at IS NULL
        AND coalesce((job.result ->> 'artifacts')::int, job.images) <> (
            SELECT count(*) FROM artifacts
            WHERE job_id = job.id AND artifacts.attempt = (job.result ->> 'attempt')::int)""",
    ),
    Invariant(
        "terminal_events",
        Severity.BROKEN,
        "A final job has one event that says so; a live one has none.",
        "A bug of Safelight: please report it with the job's attempts and events.",
        """SELECT job.id::text AS subject, NULL::float AS seconds FROM jobs AS job
        WHERE job.id = ANY (:ids)
            AND CASE WHEN job.state = ANY (:final) THEN ARRAY['job.' || job.state] ELSE '{}' END <> coalesce((
                SELECT array_agg(kind) FROM job_events WHERE job_id = job.id AND kind = ANY (:ends)
            ), '{}')""",
    ),
    Invariant(
        "webhook_messages",
        Severity.BROKEN,
        "What an endpoint wants to hear of a job's end is in the outbox.",
        "A bug of Safelight: please report it with the job's events and the endpoint's kinds of events.",
        # An endpoint that was changed lately may have wanted something else by then.
        """SELECT job.id::text AS subject, NULL::float AS seconds FROM jobs AS job
        WHERE job.id = ANY (:ids) AND job.state = ANY (:final) AND job.finished_at > now() - interval '12 hours'
            AND EXISTS (
                SELECT FROM webhook_endpoints AS endpoint
                WHERE endpoint.client_id = job.client_id AND endpoint.enabled
                    AND endpoint.changed_at < job.finished_at - interval '1 minute'
                    AND (endpoint.scope = 'all' AND endpoint.events ? ('job.' || job.state)
                        OR endpoint.id = job.webhook_endpoint_id
                        AND coalesce(job.webhook_events, endpoint.events) ? ('job.' || job.state))
                    AND NOT EXISTS (
                        SELECT FROM webhook_messages AS message
                        JOIN webhook_deliveries AS delivery ON delivery.message_id = message.id
                        WHERE message.job_id = job.id AND message.kind = 'job.' || job.state
                            AND delivery.endpoint_id = endpoint.id))""",
    ),
    Invariant(
        "webhook_overdue",
        Severity.WARNING,
        "A delivery is sent within minutes of when it is due.",
        "A slow or flooded target delays only its own deliveries; if several have it, start another dispatcher.",
        """SELECT id::text AS subject, extract(epoch FROM now() - available_at) AS seconds FROM webhook_deliveries
        WHERE state = 'pending' AND available_at < now() - make_interval(secs => :delivery_seconds)
            AND (lease_expires_at IS NULL OR lease_expires_at < now() - make_interval(secs => :delivery_seconds))""",
    ),
    Invariant(
        "no_dispatcher",
        Severity.WARNING,
        "Where deliveries are due, a dispatcher is alive.",
        "Start a dispatcher: python -m worker.webhooks. Two may run.",
        """SELECT 'last seen ' || coalesce(max(seen_at)::text, 'never') AS subject,
            extract(epoch FROM now() - max(seen_at)) AS seconds
        FROM daemons WHERE kind = 'dispatcher'
        HAVING greatest(max(seen_at), pg_postmaster_start_time()) < now() - make_interval(secs => :daemon_seconds)
            AND EXISTS (
                SELECT FROM webhook_deliveries
                WHERE state = 'pending' AND available_at < now() - make_interval(secs => :daemon_seconds)
                    AND (lease_expires_at IS NULL OR lease_expires_at < now()))""",
    ),
    Invariant(
        "connections",
        Severity.WARNING,
        "Postgres has room for more connections.",
        "Raise max_connections, or lower SAFELIGHT_DATABASE_POOL_SIZE and the number of processes.",
        """SELECT used || ' of ' || room AS subject, NULL::float AS seconds FROM (
            SELECT sum(numbackends) AS used, current_setting('max_connections')::int
                - current_setting('superuser_reserved_connections')::int
                - current_setting('reserved_connections')::int AS room
            FROM pg_stat_database
        ) AS server
        WHERE used > 0.8 * room""",
    ),
)
