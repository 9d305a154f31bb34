"""Engines and sessions: one way to connect, with timeouts that keep a stuck peer from holding the queue.

Application code takes a `sessionmaker`; `with sessions.begin() as session:` is one transaction.
"""

import time
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session, sessionmaker

from models.connections import pool_of
from models.settings import Settings

Sessions = sessionmaker[Session]
PING_AFTER_IDLE_SECONDS = 1.0


def make_engine(settings: Settings, *, application: str, pool_size: int | None = None) -> Engine:
    """An engine whose sessions carry statement, lock and idle timeouts. `application` shows in pg_stat_activity.

    It also says how many connections there may be (`models.connections`); `pool_size` is for what is not named there.
    """
    pool = pool_of(settings, application)
    engine = create_engine(
        settings.database_url,
        pool_size=pool_size or pool.kept,
        max_overflow=pool.overflow,
        pool_recycle=1800,
        hide_parameters=True,  # an error's text goes to the log, and parameters hold prompts
        connect_args={
            "application_name": f"safelight {application}",
            "connect_timeout": 5,
            "options": session_options(settings),
            # A peer that vanished without a word is noticed within about 25 s.
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 25_000,
        },
    )
    _ping_when_idle(engine)
    return engine


def _ping_when_idle(engine: Engine) -> None:
    """Try a connection before it is used again, unless it was used a moment ago: pinging each time costs a trip."""

    def left(_connection: object, record: Any) -> None:
        record.info["left_at"] = time.monotonic()

    def taken(connection: Any, record: Any, _proxy: object) -> None:
        left_at = record.info.get("left_at")
        if left_at is None or time.monotonic() - left_at < PING_AFTER_IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("closed while idle") from error  # the pool makes a new one

    event.listen(engine, "checkin", left)
    event.listen(engine, "checkout", taken)


def session_options(settings: Settings) -> str:
    """The `options` of a connection: every session of ours sets them, whoever opened it."""
    timeouts_ms = {
        "statement_timeout": settings.statement_timeout_seconds,
        "lock_timeout": settings.lock_timeout_seconds,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_seconds,
    }
    given = [f"-c {name}={int(seconds * 1000)}" for name, seconds in timeouts_ms.items()]
    return " ".join([*given, "-c timezone=UTC"])


def make_sessions(engine: Engine) -> Sessions:
    """Sessions that keep loaded rows after commit: a published row is read without asking again."""
    return sessionmaker(engine, expire_on_commit=False)
