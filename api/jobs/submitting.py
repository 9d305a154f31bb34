"""From a body to a queued job: T1, the ticket, the view."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.auth import allowed_priority, audited, principal
from api.fleet import live_workers
from api.jobs.preparing import SECONDS_PER_DAY, NamedWebhook, Origin, prepare_chain
from api.jobs.schemas import JOB_BODIES, CheckpointRef, CloneRequest, JobBody, JobView, PriceView
from api.jobs.views import LANES, checkpoint_ref, eta_seconds, job_view, queue_view
from api.reading import validated
from api.services import Services
from models.errors import FieldError, NotFoundError, ValidationFailedError
from models.failpoints import reach
from models.jobs import (
    Job,
    Submission,
    Submitted,
    find_earlier,
    needs_of,
    submit,
    submit_chain,
)
from models.jobs.needs import link
from models.jobs.queries import Place, get_job
from models.params import TASKS
from models.states import LANE_RANKS, JobState
from models.webhooks.endpoints import EndpointQuotaError, find_named, get_or_create_named


def place(services: Services, body: JobBody, origin: Origin) -> tuple[Submitted, JobView]:
    """Submit, wake a worker, and read the job back with its place in the queue."""
    try:
        chain = prepare_chain(services, body, origin)
        card, wanted = chain[-1]
        wanted = _naming(services, body, origin, wanted)
    except ValidationFailedError:
        # What a checkpoint allows may have changed since; a request that was taken then is taken still.
        if (replay := _replay(services, origin)) is None:
            raise
        return replay
    submitted = _submit(services, [*(before for _, before in chain[:-1]), wanted], origin)
    with services.reader() as session:
        if submitted.replayed:
            return submitted, _replayed_view(services, session, submitted.job_id)
        job, queue = _as_row(link(wanted, submitted.previous, submitted.chain_id), submitted), None
        # The job is taken, whatever happens now: an error here would make the client send it once more.
        with contextlib.suppress(SQLAlchemyError):
            queue = queue_view(services, session, job, card.seconds_per_step)
    ref = CheckpointRef.model_construct(name=card.name, revision=card.revision)
    return submitted, job_view(job, ref, artifacts=[], queue=queue)


def place_again(services: Services, job: Job, origin: Origin) -> tuple[Submitted, JobView]:
    """Submit a job once more exactly as it is stored: on its own checkpoint, even where that has a newer revision.

    `job` comes with its checkpoint.
    """
    wanted = Submission(
        client_id=origin.client_id,
        task=job.task,
        checkpoint_id=job.checkpoint_id,
        pool=job.pool,
        params=TASKS[job.task].model_validate(job.params),
        batch_key=job.batch_key,
        retention_seconds=job.retention_seconds,
        lane=LANES[job.lane],
        priority=min(job.priority, allowed_priority()),
        tag=job.tag,
        reproducible=job.reproducible,
        idempotency_key=origin.idempotency_key,
        request_sha256=origin.request_sha256,
        source_job_id=job.id,
        reproduces=True,
        embed_prompt=job.embed_prompt,
    )
    submitted = _submit(services, [wanted], origin)
    with services.reader() as session:
        return submitted, _replayed_view(services, session, submitted.job_id)


def _submit(services: Services, chain: Sequence[Submission], origin: Origin) -> Submitted:
    """Insert the jobs, and wake a worker for the first of them that need not wait."""
    wanted = chain[-1]
    if len(chain) == 1 and not needs_of(wanted.params):
        # One statement needs no transaction round it, but for a key that may be taken: that one rolls back.
        alone = wanted.idempotency_key is None and not origin.for_another
        made = [submit(services.reader if alone else services.sessions, wanted, _witness(origin))]
    else:
        made = submit_chain(services.sessions, chain, _witness(origin))
    if not made[-1].replayed:
        reach("after_submit")
        for job, submission in zip(made, chain, strict=True):
            if job.state is JobState.QUEUED:
                services.tickets.send(submission.pool, job.job_id)
    return made[-1]


def _naming(services: Services, body: JobBody, origin: Origin, wanted: Submission) -> Submission:
    """With the webhook that the body names, or else the one of the job that it repeats."""
    webhook = origin.webhook
    if body.webhook is not None:
        webhook = NamedWebhook(_endpoint(services, origin.client_id, body.webhook.url), body.webhook.events)
    if webhook is None:
        return wanted
    return replace(wanted, webhook_endpoint_id=webhook.endpoint_id, webhook_events=webhook.events)


def _endpoint(services: Services, client_id: UUID, url: str) -> UUID:
    """Of a URL that jobs name; made when it is new."""
    with services.reader() as session:
        known = find_named(session, client_id, url)
    if known is not None:
        return known
    try:
        with services.sessions.begin() as session:
            return get_or_create_named(session, client_id, url)
    except EndpointQuotaError as error:
        raise ValidationFailedError([FieldError("/webhook/url", error.code, error.detail)]) from error


def _replay(services: Services, origin: Origin) -> tuple[Submitted, JobView] | None:
    if origin.idempotency_key is None:
        return None
    with services.reader() as session:
        earlier = find_earlier(session, origin.client_id, origin.idempotency_key, origin.request_sha256)
        return (earlier, _replayed_view(services, session, earlier.job_id)) if earlier else None


def _replayed_view(services: Services, session: Session, job_id: UUID) -> JobView:
    job = get_job(session, job_id, None)
    if job is None:  # deleted since it was found
        raise NotFoundError.of("job", job_id)
    queue = queue_view(services, session, job, job.checkpoint.seconds_per_step)
    return job_view(job, checkpoint_ref(job.checkpoint), artifacts=job.artifacts, queue=queue)


def _as_row(wanted: Submission, submitted: Submitted) -> Job:
    """The new job's row, from what was sent and what came back; it is in no session."""
    return Job(
        id=submitted.job_id,
        client_id=wanted.client_id,
        state=submitted.state,
        task=wanted.task,
        pool=wanted.pool,
        params=wanted.params.model_dump(mode="json", exclude_none=True),
        tag=wanted.tag,
        lane=LANE_RANKS[wanted.lane],
        priority=wanted.priority,
        start_tag=submitted.start_tag,
        cost=wanted.cost,
        reproducible=wanted.reproducible,
        attempt=0,
        cancel_requested=False,
        source_job_id=wanted.source_job_id,
        reproduces=wanted.reproduces,
        chain_id=wanted.chain_id,
        embed_prompt=wanted.embed_prompt,
        webhook_endpoint_id=wanted.webhook_endpoint_id,
        webhook_events=None if wanted.webhook_events is None else [*wanted.webhook_events],
        created_at=submitted.created_at,
        deadline_at=submitted.deadline_at,
    )


def price(services: Services, body: JobBody) -> PriceView:
    """What `dry_run` answers."""
    chain = prepare_chain(services, body, Origin(principal().client_id))
    card, wanted = chain[-1]
    workers = live_workers(services).get(card.pool, 0)
    reason = None if workers else f"No live worker serves the pool {card.pool.value!r}; the job would wait for one."
    # Without a place in the order there is nothing ahead of it: the figure is the best case.
    etas = [
        eta_seconds(services, step.pool, Place(0, 0, capped=False), each.cost, step.seconds_per_step)
        for step, each in chain
    ]
    return PriceView.model_construct(
        task=wanted.task,
        checkpoint=CheckpointRef.model_construct(name=card.name, revision=card.revision),
        params=wanted.params.model_dump(mode="json", exclude_none=True),
        pool=card.pool.value,
        cost=sum(each.cost for _, each in chain),
        images=wanted.params.rows(),
        eta_seconds=None if None in etas else sum(eta or 0.0 for eta in etas),
        live_workers=workers,
        servable=workers > 0,
        reason=reason,
    )


def _witness(origin: Origin) -> Callable[[Session, UUID], None] | None:
    """What else belongs into the transaction of a repetition for another client."""
    if not origin.for_another:
        return None
    verb = "job.reproduce" if origin.reproduces else "job.retry"
    return lambda session, _new: audited(session, origin.client_id, verb, origin.source_job_id)


def repeat_body(job: Job, changes: CloneRequest) -> JobBody:
    """The body that would make this job again, with a clone's changes. `job` comes with its checkpoint.

    Raises:
        ValidationFailedError: params that do not fit.
    """
    params = {name: value for name, value in (job.params | changes.params).items() if value is not None}
    given: dict[str, Any] = {
        "task": job.task,
        "checkpoint": job.checkpoint.name,
        # What it had may be more than its client may ask for by now; only a change that asks for too much is an error.
        "priority": min(job.priority, allowed_priority()),
        "lane": LANES[job.lane].value,
        "tag": job.tag,
        "reproducible": job.reproducible,
        "embed_prompt": job.embed_prompt,
        "retention_days": max(1, job.retention_seconds // SECONDS_PER_DAY),
    }
    if job.deadline_at is not None:
        given["deadline_seconds"] = (job.deadline_at - job.created_at).total_seconds()
    given |= changes.model_dump(mode="json", exclude_unset=True)
    given["params"] = params
    schema = JOB_BODIES[job.task]
    return validated(lambda: schema.model_validate_json(json.dumps(given), strict=True), given)
