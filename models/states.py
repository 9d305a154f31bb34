"""The states of a job and of an attempt, and who moves a job between them.

A leaf: imports nothing of ours. The verbs that move a job live in `models.jobs`, one guarded UPDATE each.

    waiting ──publish of all jobs it needs──▶ queued          (or failed/canceled with one of them)
    queued  ──claim (worker)──▶ running
    queued  ──cancel (API)──▶ canceled       queued ──sweeper, deadline passed──▶ expired
    running ──publish (courier)──▶ succeeded
    running ──fail (worker)──▶ failed, or queued again with a back-off
    running ──reap (sweeper), drain (worker)──▶ queued, or failed at the crash cap
    running ──cancel seen by the worker──▶ canceled
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. Each member says who moves a job in, and who moves it out."""

    WAITING = "waiting"
    """Needs another job's output. In: submit. Out: the publish, failure or cancelation of that job; cancel, expire."""
    QUEUED = "queued"
    """May be claimed. In: submit, retry, reap, drain. Out: claim, cancel, expire."""
    RUNNING = "running"
    """A worker holds its lease. In: claim. Out: publish, fail, reap, drain, cancel."""
    SUCCEEDED = "succeeded"
    """Its result is published. In: publish. Final."""
    FAILED = "failed"
    """Gave up; `error_code` says why. In: fail, reap at the crash cap. Final."""
    CANCELED = "canceled"
    """The client asked for it. In: cancel, or the worker that saw the request. Final."""
    EXPIRED = "expired"
    """Its deadline passed before it started. In: the sweeper, from queued or waiting. Final."""


class AttemptOutcome(StrEnum):
    """How one run of a job ended. Attempts append; an outcome is written once."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A typed error that ended the job."""
    RETRIED = "retried"
    """A typed error after which the job went back to the queue."""
    LOST = "lost"
    """The lease ran out: the worker died, hung or was cut off."""
    DRAINED = "drained"
    """The worker was told to stop and handed the job back."""
    CANCELED = "canceled"


class Role(StrEnum):
    """What a key may do. `client` sees its own jobs; the others see every client's."""

    CLIENT = "client"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Pool(StrEnum):
    """Which workers serve a checkpoint; also the name of the Celery queue that wakes them."""

    GPU = "gpu"
    CPU = "cpu"


class Lane(StrEnum):
    """Interactive work goes before bulk work, whatever the priorities."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


LANE_RANKS: dict[Lane, int] = {Lane.INTERACTIVE: 0, Lane.BULK: 1}
"""As stored, so that the index of the claim sorts by it."""

LIVE_STATES: frozenset[JobState] = frozenset({JobState.WAITING, JobState.QUEUED, JobState.RUNNING})
"""Count against a client's quota."""

FINAL_STATES: frozenset[JobState] = frozenset(JobState) - LIVE_STATES
"""Nothing moves a job out of these."""

CANCELABLE_STATES: frozenset[JobState] = LIVE_STATES
RETRYABLE_STATES: frozenset[JobState] = frozenset({JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})
"""A client may submit these again as a new job (`POST /v1/jobs/{id}/retry`)."""
