"""What the job endpoints read and answer. Params are `models.params`; nothing of a task is repeated here."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, create_model

from api.reading import Flag, Moment, TaskName, WholeNumber, digits
from models.jobs.prepare import MAX_PRIORITY, MIN_PRIORITY
from models.params import TASKS, TaskParams
from models.states import AttemptOutcome, JobState, Lane
from models.webhooks.kinds import WebhookEvent
from models.webhooks.urls import MAX_URL_CHARS

MAX_STEPS = 8
MAX_DEADLINE_SECONDS = 30 * 86_400
MAX_RETENTION_DAYS = 3650
STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
KEY_PATTERN = r"^[\x21-\x7e][\x20-\x7e]{0,254}$"

Tag = Annotated[str, Field(min_length=1, max_length=200, description="Your own word, to filter lists by.")]
Checkpoint = Annotated[str, Field(min_length=1, max_length=100, description="A name from /v1/checkpoints.")]
Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY, description="Higher goes first within a lane.")]
Deadline = Annotated[
    float, Field(gt=0, le=MAX_DEADLINE_SECONDS, description="Expires unless a worker has started it by then.")
]
IdempotencyKey = Annotated[
    str | None,
    Field(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        max_length=255,
        description="The same key and body within 24 hours give the same job again.",
    ),
]
Retention = Annotated[int, Field(ge=1, le=MAX_RETENTION_DAYS, description="Days after which results are deleted.")]
WebhookUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        pattern="^[Hh][Tt][Tt][Pp][Ss]?://",
        description="https, a public host, no user name, no fragment.",
    ),
]
WebhookEvents = Annotated[
    tuple[WebhookEvent, ...],
    Field(min_length=1, max_length=len(WebhookEvent), description="What it is told of; how jobs ended if absent."),
]


class JobWebhook(BaseModel):
    """Where to tell of this job, beside the webhooks that hear of every job of yours."""

    model_config = STRICT

    url: WebhookUrl
    events: WebhookEvents | None = None


class ChainStep(BaseModel):
    """A job that takes the output of the one before it. What is left out is as in that one."""

    model_config = STRICT

    task: TaskName
    checkpoint: Checkpoint | None = None
    params: dict[str, Any] = Field(
        default_factory=dict,
        description='Of the task. The input that is left out, or {"previous": true}, is the output before.',
    )
    tag: Tag | None = None
    reproducible: bool | None = None


class JobBody(BaseModel):
    """What is the same for every task."""

    model_config = STRICT

    task: str
    checkpoint: Checkpoint | None = Field(
        None, description="The task's default, or else the oldest that can do it, if absent."
    )
    params: TaskParams
    priority: Priority = 0
    lane: Lane = Field(Lane.INTERACTIVE, description="Interactive work goes before bulk work.")
    tag: Tag | None = None
    deadline_seconds: Deadline | None = None
    reproducible: bool = Field(False, description="Runs alone, so that the last bits are the same each time.")
    retention_days: Retention | None = Field(None, description="The server's own if absent.")
    webhook: JobWebhook | None = Field(None, description="Signed with the secret of /v1/webhooks/{id}/secret.")
    embed_prompt: bool = Field(False, description="Write the prompt into the files, beside where they come from.")
    then: tuple[ChainStep, ...] = Field(
        (), max_length=MAX_STEPS, description="What becomes of the output: jobs one after the other. The last answers."
    )


def _body_of(task: str, params: type[TaskParams]) -> type[JobBody]:
    """The body for one task, so that `task` tells which params belong to it."""
    fields: dict[str, Any] = {"task": (Literal[task], Field(description=params.summary)), "params": (params, ...)}
    return create_model(f"{params.__name__.removesuffix('Params')}Job", __base__=JobBody, __module__=__name__, **fields)


JOB_BODIES: dict[str, type[JobBody]] = {task: _body_of(task, params) for task, params in TASKS.items()}


_ANY_BODY: Any = Annotated[Union[tuple(JOB_BODIES.values())], Field(discriminator="task")]  # noqa: UP007


class JobRequest(RootModel[JobBody]):
    """A job. `task` says which params it takes."""

    if not TYPE_CHECKING:
        root: _ANY_BODY

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"task": "text_to_image", "params": {"prompt": "a cat on a blue background", "seed": 7}, "tag": "demo"},
                {"task": "class_to_image", "params": {"class_label": "cat", "num_images": 4}},
                {
                    "task": "text_to_image",
                    "params": {"prompt": "a fox"},
                    "webhook": {"url": "https://example.com/hooks/safelight", "events": ["job.succeeded"]},
                },
                {
                    "task": "text_to_image",
                    "params": {"prompt": "a fox", "best_of": 4},
                    "then": [{"task": "upscale", "params": {"scale": 4}}],
                },
            ]
        }
    )


class CloneRequest(BaseModel):
    """What the copy shall have otherwise than the original. `params` are merged; null asks for the default."""

    model_config = ConfigDict(
        **STRICT,
        openapi_extra={"required": False},  # type: ignore[typeddict-unknown-key]
        json_schema_extra={"examples": [{"params": {"seed": 8}, "tag": "again"}]},
    )

    checkpoint: Checkpoint | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    priority: Priority | None = None
    lane: Lane | None = None
    tag: Tag | None = None
    deadline_seconds: Deadline | None = None
    reproducible: bool | None = None
    embed_prompt: bool | None = None
    retention_days: Retention | None = None
    webhook: JobWebhook | None = Field(None, description="That of the original if absent; null for none.")


class JobPath(BaseModel):
    """Which job."""

    job_id: UUID


class WaitHeaders(BaseModel):
    """How long to wait for the end of the job."""

    prefer: str | None = Field(
        None, alias="Prefer", description="`wait=N` (RFC 7240): answer when the job is final, or after N seconds."
    )


class SubmitHeaders(WaitHeaders):
    """How to submit."""

    idempotency_key: IdempotencyKey = None


class RepeatHeaders(BaseModel):
    """How to submit a copy."""

    idempotency_key: IdempotencyKey = None


class SubmitQuery(BaseModel):
    """Submit, or only ask."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Flag = Field("false", description="Check and price the job, and make none.")


class CancelQuery(BaseModel):
    """How much to cancel."""

    model_config = ConfigDict(extra="forbid")

    chain: Flag = Field("false", description="Cancel every job of the chain that has not ended.")


class WaitQuery(BaseModel):
    """How long to wait for the end of the job."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[int, Field(ge=0, le=86_400), BeforeValidator(digits)] | None = Field(
        None, description="Seconds; the same as `Prefer: wait=N`."
    )


class ListQuery(BaseModel):
    """Which jobs."""

    model_config = ConfigDict(extra="forbid")

    state: list[JobState] | None = Field(None, max_length=len(JobState), description="May be given several times.")
    task: TaskName | None = None
    checkpoint: Checkpoint | None = None
    tag: Tag | None = None
    created_after: Moment | None = Field(None, description="RFC 3339, inclusive.")
    created_before: Moment | None = Field(None, description="RFC 3339, exclusive.")
    limit: WholeNumber = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=300, description="From the page before.")


# --- answers ---------------------------------------------------------------------------------------------------


class CheckpointRef(BaseModel):
    """The weights a job runs on."""

    name: str
    revision: str


class QueueView(BaseModel):
    """Where a queued job stands."""

    position: int = Field(description="Jobs that will be started before this one.")
    position_capped: bool = Field(description="There are at least `position` before it; more were not counted.")
    eta_seconds: float | None = Field(description="Null when nothing was measured yet or no worker is alive.")


class ProgressView(BaseModel):
    """How far a running job is."""

    phase: str
    step: int
    total_steps: int
    preview: int = Field(description="Number of the newest preview; 0 when there is none.")


class ArtifactView(BaseModel):
    """One picture or file that a job made."""

    id: UUID
    index: int
    media_type: str
    size_bytes: int
    name: str | None = Field(description="Of a file that is no picture, e.g. `report.json`.")
    width: int | None
    height: int | None
    seed: int | None
    sha256: str
    pixels_sha256: str | None = Field(description="Of a picture's size and RGB bytes, whatever its file says besides.")
    url: str = Field(description="Redirects to the bytes; needs the key.")


class AttemptView(BaseModel):
    """One run of a job."""

    number: int
    worker: str
    outcome: AttemptOutcome
    error_code: str | None
    error_detail: str | None
    batch_jobs: int = Field(description="How many jobs ran together.")
    measures: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    detail: str


class JobWebhookView(BaseModel):
    """The webhook that a job names."""

    id: UUID
    events: list[WebhookEvent] | None = Field(description="What it hears of this job; its own choice if null.")


class JobUrls(BaseModel):
    """Where to go from here."""

    self: str
    events: str
    cancel: str
    retry: str
    reproduce: str
    result: str
    preview: str


class JobView(BaseModel):
    """A job."""

    id: UUID
    state: JobState
    task: str
    checkpoint: CheckpointRef
    params: dict[str, Any] = Field(description="Resolved: every default filled in, the seed drawn.")
    tag: str | None
    priority: int
    lane: Lane
    reproducible: bool
    attempt: int
    cancel_requested: bool
    queue: QueueView | None = Field(description="Of a queued job; null in lists.")
    progress: ProgressView | None = Field(description="Of a running job, as far as it is known.")
    artifacts: list[ArtifactView]
    result: dict[str, Any] | None = Field(description="What it says beside its artifacts: texts, scores, figures.")
    error: JobError | None
    source_job_id: UUID | None
    needs: list[UUID] = Field(description="Jobs whose outputs it takes; it waits until they have succeeded.")
    chain_id: UUID | None = Field(description="The first job of the chain that one request made.")
    embed_prompt: bool
    webhook: JobWebhookView | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    results_expire_at: datetime | None
    urls: JobUrls


class JobDetail(JobView):
    """A job with every attempt at it."""

    attempts: list[AttemptView]


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobView]
    cursor: str | None = Field(description="For the next page; null at the end.")


class ArtifactList(BaseModel):
    """What a job made."""

    items: list[ArtifactView]
    result: dict[str, Any] = Field(description="What it says beside them: texts, scores, figures.")


class PriceView(BaseModel):
    """What a job would be, and whether anybody could run it now."""

    task: str
    checkpoint: CheckpointRef
    params: dict[str, Any]
    pool: str
    cost: int = Field(description="Steps × images: what it takes from your fair share.")
    images: int
    eta_seconds: float | None
    live_workers: int
    servable: bool = Field(description="False when no live worker serves the checkpoint's pool.")
    reason: str | None
