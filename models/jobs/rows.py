"""The rows of a job, its attempts, and the clock of the fair order. CHECKs hold what the verbs promise."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    desc,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.artifacts import Artifact
from models.base import Base, CreatedAt, UuidKey, enum_column
from models.checkpoints import Checkpoint
from models.clients import Client
from models.states import AttemptOutcome, JobState, Pool

QUEUED = text("state = 'queued'")
NOT_STARTED_BY_A_DEADLINE = text("state IN ('queued', 'waiting') AND deadline_at IS NOT NULL")


class Job(Base):
    """One request for pictures, from submit to its end. `attempt` is the fencing token."""

    __tablename__ = "jobs"

    id: Mapped[UuidKey]
    client_id: Mapped[UUID] = mapped_column(ForeignKey("clients.id"))
    state: Mapped[JobState] = mapped_column(enum_column(JobState))
    task: Mapped[str] = mapped_column(Text)
    checkpoint_id: Mapped[UUID] = mapped_column(ForeignKey("checkpoints.id"))
    pool: Mapped[Pool] = mapped_column(enum_column(Pool))
    params: Mapped[dict[str, Any]]
    """Resolved: every default filled in, the seed drawn."""
    tag: Mapped[str | None] = mapped_column(Text)
    """The client's own word, to filter by."""

    # The order of the queue, and who may run together.
    lane: Mapped[int] = mapped_column(SmallInteger)
    priority: Mapped[int] = mapped_column(SmallInteger)
    start_tag: Mapped[float] = mapped_column(Float)
    cost: Mapped[int] = mapped_column(BigInteger)
    images: Mapped[int] = mapped_column(SmallInteger)
    batch_key: Mapped[str] = mapped_column(Text)
    isolate: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """A worker was lost with it: runs alone from now on."""
    reproducible: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """The client wants the same last bits each time: runs alone."""
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Not claimed before; a back-off pushes it."""
    deadline_at: Mapped[datetime | None]

    # The lease.
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    lease_owner: Mapped[str | None] = mapped_column(Text)
    lease_expires_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    # Budgets, kept apart.
    crash_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    error_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    infrastructure_since: Mapped[datetime | None]

    # How it ended.
    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)

    idempotency_key: Mapped[str | None] = mapped_column(Text)
    request_sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    source_job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    """The job that this one retries, clones or reproduces."""
    reproduces: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Its pictures are compared with those of its source."""
    chain_id: Mapped[UUID | None]
    """The first job of the chain that one request made; a name for all of them, not a reference."""
    embed_prompt: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """The client wants the prompt inside the files."""
    retention_seconds: Mapped[int] = mapped_column(Integer)
    webhook_endpoint_id: Mapped[UUID | None]
    """The target that this job names, beside those that hear of every job of its client.

    No foreign key: it would lock the endpoint in every submit, and make a deleted one rewrite all of its jobs.
    """
    webhook_events: Mapped[list[str] | None]
    """What that target hears of this job; its own choice if null."""

    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    """Of the newest attempt."""
    finished_at: Mapped[datetime | None]
    results_expire_at: Mapped[datetime | None]
    results_deleted_at: Mapped[datetime | None]

    client: Mapped[Client] = relationship(lazy="raise")
    checkpoint: Mapped[Checkpoint] = relationship(lazy="raise")
    attempts: Mapped[list["Attempt"]] = relationship(lazy="raise", order_by="Attempt.number", passive_deletes=True)
    artifacts: Mapped[list[Artifact]] = relationship(lazy="raise", order_by=Artifact.index, passive_deletes=True)

    __table_args__ = (
        CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name="succeeded_has_result"),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="running_has_owner"),
        CheckConstraint("(lease_owner IS NULL) = (lease_expires_at IS NULL)", name="lease_is_whole"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="failed_has_code"),
        CheckConstraint(
            "(state IN ('succeeded', 'failed', 'canceled', 'expired')) = (finished_at IS NOT NULL)",
            name="final_has_finished_at",
        ),
        CheckConstraint("cost >= 0 AND images >= 1", name="cost"),
        UniqueConstraint("client_id", "idempotency_key"),
        # The claim: the head of a pool's queue, the head among loaded checkpoints, and the mates of a batch.
        Index("ix_jobs__claim", "pool", "lane", desc("priority"), "start_tag", "id", postgresql_where=QUEUED),
        Index(
            "ix_jobs__claim_checkpoint",
            "pool",
            "checkpoint_id",
            "lane",
            desc("priority"),
            "start_tag",
            "id",
            postgresql_where=QUEUED,
        ),
        Index(
            "ix_jobs__claim_mates", "batch_key", "lane", desc("priority"), "start_tag", "id", postgresql_where=QUEUED
        ),
        # The sweeper (lost leases are found by ix_jobs__all_state: few jobs run at a time).
        Index("ix_jobs__deadline", "deadline_at", postgresql_where=NOT_STARTED_BY_A_DEADLINE),
        Index("ix_jobs__retention", "results_expire_at", postgresql_where=text("results_deleted_at IS NULL")),
        Index("ix_jobs__idempotency_age", "created_at", postgresql_where=text("idempotency_key IS NOT NULL")),
        # The lists of a client, newest first, by each filter.
        Index("ix_jobs__list", "client_id", desc("created_at"), desc("id")),
        Index("ix_jobs__list_state", "client_id", "state", desc("created_at"), desc("id")),
        Index("ix_jobs__list_task", "client_id", "task", desc("created_at"), desc("id")),
        Index("ix_jobs__list_checkpoint", "client_id", "checkpoint_id", desc("created_at"), desc("id")),
        Index("ix_jobs__list_tag", "client_id", "tag", desc("created_at"), desc("id")),
        # The lists of an operator, over all clients.
        Index("ix_jobs__all", desc("created_at"), desc("id")),
        Index("ix_jobs__all_state", "state", desc("created_at"), desc("id")),
        Index("ix_jobs__chain", "chain_id", postgresql_where=text("chain_id IS NOT NULL")),
        Index("ix_jobs__source", "source_job_id", postgresql_where=text("source_job_id IS NOT NULL")),
    )


class JobNeed(Base):
    """A job takes the output of another: it waits until that one has succeeded. Stays when it has."""

    __tablename__ = "job_needs"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    needs_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True)


class Attempt(Base):
    """One run of a job. Appended by the claim; its outcome is written once, by whoever ends the run."""

    __tablename__ = "attempts"
    __table_args__ = (CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name="ended_has_finished_at"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    worker: Mapped[str] = mapped_column(Text)
    outcome: Mapped[AttemptOutcome] = mapped_column(
        enum_column(AttemptOutcome), server_default=AttemptOutcome.RUNNING.value
    )
    batch_jobs: Mapped[int] = mapped_column(SmallInteger)
    """How many jobs ran together; 1 means alone."""
    error_code: Mapped[str | None] = mapped_column(Text)
    error_detail: Mapped[str | None] = mapped_column(Text)
    measures: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """Seconds of each phase, the device, the steps of the memory ladder."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class FairClock(Base):
    """Virtual time of a pool: the start tag of the newest claim. Approximate on purpose; see `models.jobs.order`."""

    __tablename__ = "fair_clocks"

    pool: Mapped[Pool] = mapped_column(enum_column(Pool), primary_key=True)
    virtual_time: Mapped[float] = mapped_column(Float, server_default=text("0"))
