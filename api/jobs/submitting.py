"""From a body to a queued job: the checkpoint's card, the params resolved, T1, the ticket, the view."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.auth import allowed_priority, audited, principal
from api.fleet import live_workers
from api.jobs.bounds import check_limits
from api.jobs.schemas import JOB_BODIES, CheckpointRef, CloneRequest, JobBody, JobView, PriceView
from api.jobs.views import LANES, checkpoint_ref, eta_seconds, job_view, queue_view
from api.reading import validated
from api.services import Services
from models.checkpoints import find_for_task
from models.errors import FieldError, NotFoundError, ValidationFailedError
from models.failpoints import reach
from models.jobs import CheckpointCard, Job, Submission, Submitted, batch_key, find_earlier, submit
from models.jobs.queries import Place, get_job
from models.states import LANE_RANKS, JobState
from models.webhooks.endpoints import EndpointQuotaError, find_named, get_or_create_named
from models.webhooks.urls import check_url

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class NamedWebhook:
    """The webhook that a job names."""

    endpoint_id: UUID
    events: tuple[str, ...] | None

    @classmethod
    def of(cls, job: Job) -> "NamedWebhook | None":
        """That of a job, if it names one."""
        if job.webhook_endpoint_id is None:
            return None
        return cls(job.webhook_endpoint_id, None if job.webhook_events is None else (*job.webhook_events,))


@dataclass(frozen=True)
class Origin:
    """What the body does not say: who pays, what it repeats, and how it is recognized when it comes again."""

    client_id: UUID
    idempotency_key: str | None = None
    request_sha256: bytes | None = None
    source_job_id: UUID | None = None
    webhook: NamedWebhook | None = None
    """The one that the repeated job names; a body that says something of webhooks goes before it."""

    @property
    def for_another(self) -> bool:
        """Whether an operator does this in the name of another client."""
        return self.client_id != principal().client_id


def load_card(services: Services, task: str, name: str | None) -> CheckpointCard:
    """The checkpoint that will run it, as of at most a second ago."""

    def load() -> CheckpointCard:
        with services.reader() as session:
            row = find_for_task(session, task, name)
            return CheckpointCard(
                row.id, row.name, row.family, row.revision, row.pool, row.profile, row.seconds_per_step
            )

    return services.cards.get((task, name), load)


def prepare(services: Services, body: JobBody, origin: Origin) -> tuple[CheckpointCard, Submission]:
    """Check the body against its checkpoint; nothing is written.

    Raises:
        ValidationFailedError: one entry for each field that this checkpoint or this server does not allow.
    """
    card = load_card(services, body.task, body.checkpoint)
    params = body.params.resolved(card.profile)
    check_limits(services.settings, params, body.priority, allowed_priority())
    if body.webhook is not None:
        private = services.settings.webhook_allow_private
        check_url(body.webhook.url, allow_private=private, pointer="/webhook/url")
    days = body.retention_days or services.settings.result_retention_days
    return card, Submission(
        client_id=origin.client_id,
        task=body.task,
        checkpoint_id=card.id,
        pool=card.pool,
        params=params,
        batch_key=batch_key(body.task, card, params),
        retention_seconds=days * SECONDS_PER_DAY,
        lane=body.lane,
        priority=body.priority,
        tag=body.tag,
        reproducible=body.reproducible,
        deadline_seconds=body.deadline_seconds,
        idempotency_key=origin.idempotency_key,
        request_sha256=origin.request_sha256,
        source_job_id=origin.source_job_id,
    )


def place(services: Services, body: JobBody, origin: Origin) -> tuple[Submitted, JobView]:
    """Submit, wake a worker, and read the job back with its place in the queue."""
    try:
        card, wanted = prepare(services, body, origin)
        wanted = _naming(services, body, origin, wanted)
    except ValidationFailedError:
        # What a checkpoint allows may have changed since; a request that was taken then is taken still.
        if (replay := _replay(services, origin)) is None:
            raise
        return replay
    # One statement needs no transaction round it, but for a key that may turn out to be taken: that one rolls back.
    alone = wanted.idempotency_key is None and not origin.for_another
    submitted = submit(services.reader if alone else services.sessions, wanted, _witness(origin))
    if not submitted.replayed:
        reach("after_submit")
        services.tickets.send(card.pool, submitted.job_id)
    with services.reader() as session:
        if submitted.replayed:
            return submitted, _replayed_view(services, session, submitted.job_id)
        job, queue = _as_row(wanted, submitted), None
        # The job is taken, whatever happens now: an error here would make the client send it once more.
        with contextlib.suppress(SQLAlchemyError):
            queue = queue_view(services, session, job, card.seconds_per_step)
    ref = CheckpointRef.model_construct(name=card.name, revision=card.revision)
    return submitted, job_view(job, ref, artifacts=[], queue=queue)


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
        state=JobState.QUEUED,
        task=wanted.task,
        pool=wanted.pool,
        params=wanted.params.model_dump(mode="json"),
        tag=wanted.tag,
        lane=LANE_RANKS[wanted.lane],
        priority=wanted.priority,
        start_tag=submitted.start_tag,
        cost=wanted.cost,
        reproducible=wanted.reproducible,
        attempt=0,
        cancel_requested=False,
        source_job_id=wanted.source_job_id,
        webhook_endpoint_id=wanted.webhook_endpoint_id,
        webhook_events=None if wanted.webhook_events is None else [*wanted.webhook_events],
        created_at=submitted.created_at,
        deadline_at=submitted.deadline_at,
    )


def price(services: Services, body: JobBody) -> PriceView:
    """What `dry_run` answers."""
    card, wanted = prepare(services, body, Origin(principal().client_id))
    workers = live_workers(services).get(card.pool, 0)
    reason = None if workers else f"No live worker serves the pool {card.pool.value!r}; the job would wait for one."
    # Without a place in the order there is nothing ahead of it: the figure is the best case.
    eta = eta_seconds(services, card.pool, Place(0, 0, capped=False), wanted.cost, card.seconds_per_step)
    return PriceView.model_construct(
        task=wanted.task,
        checkpoint=CheckpointRef.model_construct(name=card.name, revision=card.revision),
        params=wanted.params.model_dump(mode="json"),
        pool=card.pool.value,
        cost=wanted.cost,
        images=wanted.params.rows(),
        eta_seconds=eta,
        live_workers=workers,
        servable=workers > 0,
        reason=reason,
    )


def _witness(origin: Origin) -> Callable[[Session, UUID], None] | None:
    """What else belongs into the transaction of a retry for another client."""
    if not origin.for_another:
        return None
    return lambda session, _new: audited(session, origin.client_id, "job.retry", origin.source_job_id)


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
        "retention_days": max(1, job.retention_seconds // SECONDS_PER_DAY),
    }
    if job.deadline_at is not None:
        given["deadline_seconds"] = (job.deadline_at - job.created_at).total_seconds()
    given |= changes.model_dump(mode="json", exclude_unset=True)
    given["params"] = params
    schema = JOB_BODIES[job.task]
    return validated(lambda: schema.model_validate_json(json.dumps(given), strict=True), given)
