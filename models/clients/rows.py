"""The client's row: quota, weight and fair-share tags. T1 locks it, so its columns change one submit at a time."""

from sqlalchemy import CheckConstraint, Float, Integer, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, CreatedAt, UuidKey


class Client(Base):
    """An application or a person that submits jobs."""

    __tablename__ = "clients"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight"),
        CheckConstraint("live_jobs >= 0", name="live_jobs"),
        CheckConstraint("safety_threshold BETWEEN 0 AND 1", name="safety_threshold"),
    )

    id: Mapped[UuidKey]
    name: Mapped[str] = mapped_column(Text, unique=True)
    weight: Mapped[float] = mapped_column(Float, server_default=text("1"))
    """Share of the workers relative to other clients that wait at the same time."""
    max_live_jobs: Mapped[int] = mapped_column(Integer)
    max_priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """The highest that its jobs may ask for: priority goes before the fair order, so it is given, not taken."""
    live_jobs: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Jobs in LIVE_STATES: up in submit, down in the transaction that ends a job."""
    gpu_finish_tag: Mapped[float] = mapped_column(Float, server_default=text("0"))
    cpu_finish_tag: Mapped[float] = mapped_column(Float, server_default=text("0"))
    """Virtual time of each pool at which this client's last job there would finish; see `models.jobs.order`.

    One for both would make long work in one pool a debt in the other, whose clock may be far behind.
    """
    safety_threshold: Mapped[float | None] = mapped_column(Float)
    """Pictures whose safety score reaches it are withheld; null lets all pass."""
    blocked_words: Mapped[list[str] | None]
    """Prompts with one of these are refused, beside those of the settings."""
    created_at: Mapped[CreatedAt]


def create_client(
    session: Session, name: str, *, max_live_jobs: int, weight: float = 1.0, max_priority: int = 0
) -> Client:
    """A new client; its name is unique."""
    client = Client(name=name, max_live_jobs=max_live_jobs, weight=weight, max_priority=max_priority)
    session.add(client)
    session.flush()
    return client
