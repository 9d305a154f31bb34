"""What the outbox adds to a transition: its statements beside those of the event alone, without and with a webhook.

Everything is rolled back, so that no dispatcher sends anything; the commit, which both have, is left out.
"""

import statistics
import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from bench.report import Figure, spread
from bench.stack import Stack
from models.clients import Client
from models.events import record
from models.jobs import Job
from models.jobs.announce import announce
from models.session import make_engine, make_sessions
from models.webhooks.endpoints import create_endpoint

KIND = "job.succeeded"
ROUNDS = 300
WARM_UP = 20
"""The driver prepares a statement after a few."""
OTHERS = text("""
INSERT INTO clients (name, max_live_jobs) SELECT 'other-' || n, 1 FROM generate_series(1, 5000) AS n
""")
THEIR_ENDPOINTS = text("""
INSERT INTO webhook_endpoints (client_id, url, scope, events, secret)
SELECT id, 'https://example.com/', 'all', '["job.succeeded"]', '' FROM clients WHERE name LIKE 'other-%'
""")


def outbox_cost(stack: Stack) -> list[Figure]:
    """Median milliseconds of one announcement, among 5,000 endpoints of other clients."""
    stack.client().submit("text_to_image", prompt="a cat")
    engine = make_engine(stack.settings, application="bench", pool_size=1)
    try:
        with make_sessions(engine)() as session:
            job = session.scalars(select(Job).limit(1)).one()
            for statement in (OTHERS, THEIR_ENDPOINTS, text("ANALYZE webhook_endpoints"), text("ANALYZE clients")):
                session.execute(statement)
            alone = _measure(session, job.id, record)
            without = _measure(session, job.id, announce)
            create_endpoint(session, session.get_one(Client, job.client_id).id, "https://example.com/")
            heard = _measure(session, job.id, announce)
            session.rollback()
    finally:
        engine.dispose()
    base = statistics.median(alone)
    return [
        Figure(
            "a transition's event, no webhook",
            statistics.median(without),
            "ms",
            base,
            "event alone",
            "",
            spread(without),
        ),
        Figure(
            "a transition's event, one webhook", statistics.median(heard), "ms", base, "event alone", "", spread(heard)
        ),
    ]


def _measure(session: Session, job: UUID, say: Callable[[Session, list[UUID], str], None]) -> list[float]:
    found = []
    for _ in range(WARM_UP + ROUNDS):
        with session.begin_nested() as point:
            began = time.monotonic()
            say(session, [job], KIND)
            found.append(1000 * (time.monotonic() - began))
            point.rollback()
    return found[WARM_UP:]
