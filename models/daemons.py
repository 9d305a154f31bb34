"""Which of the processes beside the workers are alive: sweepers and webhook dispatchers. Only for watching.

Nothing here decides anything: two of a kind may run, and leases say who owns what.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Integer, Text, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, enum_column, seconds

FORGET_AFTER_SECONDS = 24 * 3600.0


class DaemonKind(StrEnum):
    """What it does."""

    SWEEPER = "sweeper"
    DISPATCHER = "dispatcher"


class Daemon(Base):
    """One process; it keeps `seen_at` fresh with every round of its work."""

    __tablename__ = "daemons"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    """Unique per process: host, pid and a random part."""
    kind: Mapped[DaemonKind] = mapped_column(enum_column(DaemonKind))
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    working_since: Mapped[datetime]
    """Since when it has had Postgres without a break: a sweeper reaps nothing in its first lease."""
    seen_at: Mapped[datetime]


def say_alive(
    session: Session, *, name: str, kind: DaemonKind, host: str, pid: int, working_seconds: float = 0.0
) -> None:
    """Insert the row or refresh it. `working_seconds` is how long it has had Postgres without a break."""
    now = func.clock_timestamp()
    changing = {"working_since": now - seconds(working_seconds), "seen_at": now}
    row = insert(Daemon).values(name=name, kind=kind, host=host, pid=pid, **changing)
    session.execute(row.on_conflict_do_update(index_elements=[Daemon.name], set_=changing))


def say_gone(session: Session, name: str) -> None:
    """It stops: forget it."""
    session.execute(delete(Daemon).where(Daemon.name == name))


def forget_dead(session: Session) -> int:
    """Delete the rows of those that were not heard of for a day."""
    dead = delete(Daemon).where(Daemon.seen_at < func.now() - seconds(FORGET_AFTER_SECONDS))
    return len(session.scalars(dead.returning(Daemon.name)).all())
