"""What must hold of jobs, kept in memory beside the database: a model that is too simple to be wrong."""

from dataclasses import dataclass, field
from uuid import UUID

from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError, RunError, TransientError
from models.jobs import Failure, Hold
from models.states import FINAL_STATES, LIVE_STATES, AttemptOutcome, JobState

MAX_ERRORS = 2
MAX_CRASHES = 2
ERRORS: dict[str, type[RunError]] = {
    "invalid": InvalidInputError,
    "memory": OutOfMemoryError,
    "pipeline": PipelineFailedError,
    "transient": TransientError,
}


@dataclass
class Known:
    """One job."""

    client: int
    alone: bool
    """Asked to be: `reproducible`."""
    images: int
    needs: UUID | None = None
    """The job whose output it takes."""
    state: JobState = JobState.QUEUED
    owner: str | None = None
    outcomes: list[AttemptOutcome] = field(default_factory=list)
    company: int = 0
    """Jobs of the newest batch."""
    cancel: bool = False
    isolate: bool = False
    lease_over: bool = False
    deadline_over: bool = False
    results_over: bool = False
    results_gone: bool = False
    crashes: int = 0
    errors: int = 0

    @property
    def live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def claimable(self) -> bool:
        return self.state is JobState.QUEUED and not self.deadline_over

    def holds(self, hold: Hold) -> bool:
        """Whether this hold is the current one; nothing else may ever change the job."""
        return self.state is JobState.RUNNING and (len(self.outcomes), self.owner) == (hold.attempt, hold.owner)

    def claimed(self, owner: str, company: int) -> None:
        self.state, self.owner, self.company, self.lease_over = JobState.RUNNING, owner, company, False
        self.outcomes.append(AttemptOutcome.RUNNING)

    def ended(self, state: JobState, outcome: AttemptOutcome) -> None:
        self.state, self.owner, self.lease_over = state, None, False
        self.outcomes[-1] = outcome

    def failed(self, kind: str) -> Failure:
        """What a failure of this kind must lead to, and does here."""
        alone = self.company == 1
        final = kind == "invalid" or (kind == "memory" and alone)
        if kind == "pipeline":
            final = self.errors + 1 >= MAX_ERRORS
        if kind != "transient":
            self.errors += 1
        if final:
            self.ended(JobState.FAILED, AttemptOutcome.FAILED)
            return Failure.FAILED
        if self.cancel:
            self.ended(JobState.CANCELED, AttemptOutcome.CANCELED)
            return Failure.CANCELED
        self.isolate |= kind in {"memory", "pipeline"}
        self.ended(JobState.QUEUED, AttemptOutcome.RETRIED)
        return Failure.RETRIED

    def reaped(self, *, alone: bool) -> None:
        self.crashes += alone
        self.isolate = True
        over = JobState.FAILED if self.crashes >= MAX_CRASHES else JobState.QUEUED
        self.ended(JobState.CANCELED if self.cancel else over, AttemptOutcome.LOST)


def follow(known: dict[UUID, Known]) -> None:
    """Waiting jobs go the way of what they need, and those that wait for them theirs."""
    moved = True
    while moved:
        moved = False
        for job in known.values():
            needed = known.get(job.needs) if job.needs else None
            if job.state is JobState.WAITING and needed is not None and needed.final:
                job.state = AFTER.get(needed.state, JobState.FAILED)
                moved = True


AFTER = {JobState.SUCCEEDED: JobState.QUEUED, JobState.CANCELED: JobState.CANCELED}


def lone(known: dict[UUID, Known], job: Known) -> bool:
    """Whether a lost lease counts: alone in its batch, and its worker had nothing else."""
    others = [other for other in known.values() if other is not job and other.owner == job.owner and other.owner]
    return job.company == 1 and not others
