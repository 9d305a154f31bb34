"""What Postgres and S3 say of a job afterwards, and what must hold of it however it got there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from models.artifacts import RESULTS_PREFIX, Artifact
from models.clients import Client
from models.events import JobEvent
from models.jobs import Attempt, Job
from models.session import Sessions
from models.states import FINAL_STATES, AttemptOutcome, JobState
from models.storage import Storage

FINAL_EVENTS = frozenset(f"job.{state.value}" for state in FINAL_STATES)


@dataclass(frozen=True)
class Ledger:
    """Everything about one job at one moment."""

    job: Job
    attempts: Sequence[Attempt]
    events: Sequence[str]
    artifacts: Sequence[Artifact]
    live_jobs: int
    """Of its client."""

    @property
    def outcomes(self) -> list[AttemptOutcome]:
        """Of its attempts, in order."""
        return [attempt.outcome for attempt in self.attempts]


def read(sessions: Sessions, job_id: UUID) -> Ledger:
    """In one transaction that sees one moment."""
    with sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        job = session.get_one(Job, job_id)
        return Ledger(
            job=job,
            attempts=session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)).all(),
            events=session.scalars(select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all(),
            artifacts=session.scalars(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.index)).all(),
            live_jobs=session.get_one(Client, job.client_id).live_jobs,
        )


def assert_ended_once(
    sessions: Sessions, storage: Storage, job_id: UUID, *outcomes: AttemptOutcome, images: int = 1
) -> Ledger:
    """It succeeded by its last attempt, once: one terminal event, each picture once, in S3 with its hash.

    `outcomes` are those of all its attempts. The client of the job has no other live one.
    """
    found = read(sessions, job_id)
    assert found.job.state is JobState.SUCCEEDED
    assert found.outcomes == list(outcomes)
    assert found.outcomes.count(AttemptOutcome.SUCCEEDED) == 1
    assert [kind for kind in found.events if kind in FINAL_EVENTS] == ["job.succeeded"]
    assert [artifact.index for artifact in found.artifacts] == list(range(images))
    assert {artifact.attempt for artifact in found.artifacts} == {found.job.attempt} == {len(outcomes)}
    assert found.job.result == {"images": images, "artifacts": images, "attempt": found.job.attempt}
    for artifact in found.artifacts:
        assert hashlib.sha256(storage.get(artifact.key)).hexdigest() == artifact.sha256
    assert found.live_jobs == 0
    return found


def assert_running(sessions: Sessions, job_id: UUID, attempt: int) -> None:
    """It runs in this attempt, and nothing of it was published."""
    found = read(sessions, job_id)
    assert (found.job.state, found.job.attempt) == (JobState.RUNNING, attempt)
    assert not found.artifacts
    assert not FINAL_EVENTS & set(found.events)
    assert found.outcomes[-1] is AttemptOutcome.RUNNING


def objects_of(storage: Storage, job_id: UUID) -> set[str]:
    """The keys of everything in S3 that was ever stored for it."""
    return {blob.key for blob in storage.listing(f"{RESULTS_PREFIX}{job_id}/")}
