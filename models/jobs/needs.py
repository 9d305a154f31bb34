"""Jobs that take the outputs of others: which those are, whether they can still come, and who is woken by them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.errors import ConflictError, NotFoundError
from models.jobs.prepare import Submission
from models.jobs.rows import Job, JobNeed
from models.params import InputRef, TaskParams
from models.states import FINAL_STATES, JobState, Pool


def needs_of(params: TaskParams) -> set[UUID]:
    """The jobs whose outputs these params name."""
    return {ref.job for ref in params.inputs().values() if ref.job is not None}


def lock_needs(session: Session, needs: Iterable[UUID]) -> Mapping[UUID, JobState]:
    """The states of jobs that a new one needs, held as they are until the transaction ends.

    FOR SHARE meets the UPDATE of a publish: either that is seen here as done, or it will see the job that waits.

    Raises:
        NotFoundError: a job was deleted since it was looked at.
        ConflictError: it has ended without a result.
    """
    wanted = sorted(needs)
    if not wanted:
        return {}
    locked = select(Job.id, Job.state).where(Job.id.in_(wanted)).order_by(Job.id).with_for_update(read=True)
    states = {row.id: row.state for row in session.execute(locked)}
    for need in wanted:
        state = states.get(need)
        if state is None:
            raise NotFoundError.of("job", need)
        if state in FINAL_STATES and state is not JobState.SUCCEEDED:
            raise ConflictError(f"The job {need} is {state.value}: there will be no output to take.", job_id=str(need))
    return states


def link(wanted: Submission, previous: UUID | None, chain_id: UUID | None) -> Submission:
    """A submission with `previous` replaced by the id of the job before it."""
    params = wanted.params
    if previous is not None:
        params = params.model_copy(update=_linked(params, previous))
    return replace(wanted, params=params, chain_id=chain_id or wanted.chain_id)


def pools_woken(session: Session, job_id: UUID) -> list[Pool]:
    """Where jobs wait that took this one's output: whoever published it sends their tickets."""
    query = (
        select(Job.pool)
        .distinct()
        .join(JobNeed, JobNeed.job_id == Job.id)
        .where(JobNeed.needs_id == job_id, Job.state == text("'queued'"))
    )
    return list(session.scalars(query))


def _linked(params: TaskParams, previous: UUID) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, InputRef):
            found[name] = _resolved(value, previous)
        elif isinstance(value, tuple) and any(isinstance(entry, InputRef) for entry in value):
            found[name] = tuple(_resolved(entry, previous) if isinstance(entry, InputRef) else entry for entry in value)
    return found


def _resolved(ref: InputRef, previous: UUID) -> InputRef:
    return ref.model_copy(update={"job": previous, "previous": False}) if ref.previous else ref
