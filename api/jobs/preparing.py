"""From a body to submissions: the checkpoint's card, the params resolved, the inputs looked up. Nothing is written."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from api.auth import allowed_priority, principal
from api.jobs.bounds import check_limits, check_words
from api.jobs.choosing import choose_card
from api.jobs.inputs import Previous, check_inputs, with_revisions
from api.jobs.schemas import JOB_BODIES, ChainStep, JobBody
from api.jobs.training import check_training
from api.services import Services
from models.errors import FieldError, ValidationFailedError
from models.jobs import CheckpointCard, Job, Submission, batch_key
from models.params import TASKS, parse_params
from models.webhooks.urls import check_url

PREVIOUS = {"previous": True}
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
    reproduces: bool = False
    """Whether its pictures are compared with those of the job that it repeats."""
    webhook: NamedWebhook | None = None
    """The one that the repeated job names; a body that says something of webhooks goes before it."""

    @property
    def for_another(self) -> bool:
        """Whether an operator does this in the name of another client."""
        return self.client_id != principal().client_id


def prepare(
    services: Services, body: JobBody, origin: Origin, previous: Previous | None = None
) -> tuple[CheckpointCard, Submission]:
    """Check the body against its checkpoint; nothing is written.

    Raises:
        ValidationFailedError: one entry for each field that this checkpoint or this server does not allow.
    """
    card = choose_card(services, body)
    params = with_revisions(services, body.params.resolved(card.profile))
    check_words(params, (*services.settings.blocked_words, *principal().blocked_words))
    check_inputs(services, origin.client_id, params, card.profile, previous)
    check_training(services, origin.client_id, params)
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
        reproduces=origin.reproduces,
        embed_prompt=body.embed_prompt,
    )


def prepare_chain(services: Services, body: JobBody, origin: Origin) -> list[tuple[CheckpointCard, Submission]]:
    """The job and the steps after it, each checked against the one before. The last carries what names the request.

    Raises:
        ValidationFailedError: with pointers below `/then/<step>` where a step is wrong.
    """
    bodies = [body]
    for number, step in enumerate(body.then):
        bodies.append(_step_body(body, step, number))
    prepared: list[tuple[CheckpointCard, Submission]] = []
    for number, each in enumerate(bodies):
        last = number == len(bodies) - 1
        named = origin if last else replace(origin, idempotency_key=None, request_sha256=None, webhook=None)
        before = prepared[-1][1] if prepared else None
        previous = Previous(before.task, before.params) if before else None
        try:
            prepared.append(prepare(services, each, named, previous))
        except ValidationFailedError as error:
            raise error if not number else _below(number - 1, error) from error
    return prepared


def _step_body(body: JobBody, step: ChainStep, number: int) -> JobBody:
    """The body of a step: what it says, and the rest of the request's."""
    schema = TASKS[step.task]
    given = dict(step.params)
    if schema.feed and schema.feed not in given and not _fed(schema.feed, given):
        given[schema.feed] = PREVIOUS
    try:
        params = parse_params(schema, given)
    except ValidationFailedError as error:
        raise _below(number, error) from error
    if not any(ref.previous for ref in params.inputs().values()):
        text = f"The task {step.task} takes nothing of the job before it here; submit it as a job of its own."
        raise ValidationFailedError([FieldError(f"/then/{number}/params", "not_chained", text)])
    own = step.model_dump(exclude_unset=True, include={"checkpoint", "tag", "reproducible"})
    shared = {name: getattr(body, name) for name in SHARED}
    return JOB_BODIES[step.task].model_construct(
        **{**shared, "checkpoint": None, **own, "task": step.task, "params": params}
    )


SHARED = ("priority", "lane", "tag", "deadline_seconds", "reproducible", "retention_days", "webhook", "embed_prompt")
"""What a step has from the request, unless it says otherwise."""


def _fed(feed: str, given: dict[str, Any]) -> bool:
    """A prompt in words needs none from another job."""
    return feed == "prompt_from" and bool(given.get("prompt"))


def _below(number: int, error: ValidationFailedError) -> ValidationFailedError:
    return ValidationFailedError([replace(field, pointer=f"/then/{number}{field.pointer}") for field in error.fields])
