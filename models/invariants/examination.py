"""One examination: every check and every figure in one read-only snapshot."""

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.orm import Session

from models.invariants.figures import read_figures
from models.invariants.health import Health, Invariant, Violation
from models.invariants.table import COMMON, COUNTED_JOBS, INVARIANTS, MOST, Patience
from models.session import Sessions
from models.settings import Settings
from models.states import FINAL_STATES, LIVE_STATES

NEWEST = 2000
"""How many of the newest events lead to the jobs that are looked at; a quarter as many of each final state as well."""
EXAMPLES = 20
TIMEOUT_MS = 5000
"""Of one statement: a monitor that hurts is none."""

_ARRAYS: dict[str, ARRAY[Any]] = {"ids": ARRAY(Uuid), "live": ARRAY(Text), "final": ARRAY(Text), "ends": ARRAY(Text)}
_STATES: dict[str, list[str]] = {
    "live": sorted(LIVE_STATES),
    "final": sorted(FINAL_STATES),
    "ends": [f"job.{state.value}" for state in sorted(FINAL_STATES)],
}

# The newest of each state by when they were made, whoever spoke last of them, and all that run.
_NEWEST = text("""
SELECT job_id FROM (SELECT job_id FROM job_events ORDER BY id DESC LIMIT :newest) AS spoken_of
UNION SELECT id FROM (
    SELECT job.id FROM (VALUES ('succeeded'), ('failed'), ('canceled'), ('expired')) AS final (state)
    CROSS JOIN LATERAL (
        SELECT id FROM jobs WHERE jobs.state = final.state ORDER BY created_at DESC, id DESC LIMIT :newest / 4
    ) AS job
) AS ended
UNION SELECT id FROM (SELECT id FROM jobs WHERE state = 'running' LIMIT :newest) AS running
""")


def examine(sessions: Sessions, settings: Settings, *, newest: int = NEWEST) -> Health:
    """Ask everything. A larger `newest` looks further back, at its price.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: Postgres does not answer, or not in time.
    """
    patience = Patience.of(settings)
    with sessions.begin() as session:
        # One snapshot for all of it: counters and what they count are of the same moment.
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        session.execute(text(f"SET LOCAL statement_timeout = {TIMEOUT_MS}"))
        ids = session.scalars(_NEWEST, {"newest": newest}).all()
        found = [_ask(session, invariant, patience, ids, newest) for invariant in INVARIANTS]
        now = session.scalars(text("SELECT now()")).one()
        figures = read_figures(session, patience)
    return Health(now, tuple(violation for violation in found if violation is not None), figures)


def _ask(
    session: Session, invariant: Invariant, patience: Patience, ids: Sequence[UUID], newest: int
) -> Violation | None:
    known = {**patience.parameters(), "ids": list(ids), "newest": newest}
    known |= {"turn": secrets.token_hex(4), "counted": COUNTED_JOBS, "most": MOST, **_STATES}
    statement = _statement(invariant.sql)
    rows = session.execute(statement, {name: known[name] for name in statement.compile().params}).all()
    if not rows:
        return None
    ages = [float(row.seconds) for row in rows if row.seconds is not None]
    return Violation(
        invariant, len(rows), tuple(row.subject for row in rows[:EXAMPLES]), round(max(ages), 1) if ages else None
    )


@lru_cache
def _statement(sql: str) -> TextClause:
    statement = text(f"{COMMON}{sql}\nLIMIT :most")
    typed = [bindparam(name, type_=kind) for name, kind in _ARRAYS.items() if f":{name}" in sql]
    return statement.bindparams(*typed)
