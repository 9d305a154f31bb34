"""Rows of jobs as the JSON of the API."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from api.fleet import live_workers
from api.jobs.inputs import needs_in
from api.jobs.schemas import (
    ArtifactView,
    AttemptView,
    CheckpointRef,
    JobDetail,
    JobError,
    JobUrls,
    JobView,
    JobWebhookView,
    ProgressView,
    QueueView,
)
from api.services import Services
from models.artifacts import Artifact
from models.checkpoints import Checkpoint
from models.jobs import Attempt, Job
from models.jobs.queries import Place, place_in_queue
from models.progress import Progress
from models.states import LANE_RANKS, JobState, Lane, Pool

LANES: dict[int, Lane] = {rank: lane for lane, rank in LANE_RANKS.items()}


def job_view(
    job: Job,
    checkpoint: CheckpointRef,
    *,
    artifacts: list[Artifact],
    queue: QueueView | None = None,
    progress: Progress | None = None,
) -> JobView:
    """A job without its attempts."""
    return JobView.model_construct(**_fields(job, checkpoint, artifacts, queue, progress))


def job_detail(services: Services, session: Session, job: Job) -> JobDetail:
    """A whole job: read with its relations."""
    queue = queue_view(services, session, job, job.checkpoint.seconds_per_step)
    progress = services.board.get([job.id]).get(job.id) if job.state is JobState.RUNNING else None
    fields = _fields(job, checkpoint_ref(job.checkpoint), job.artifacts, queue, progress)
    return JobDetail.model_construct(**fields, attempts=[_attempt_view(attempt) for attempt in job.attempts])


def queue_view(services: Services, session: Session, job: Job, seconds_per_step: float | None) -> QueueView | None:
    """Where the job stands, if it is queued."""
    if job.state is not JobState.QUEUED:
        return None
    place = place_in_queue(session, job)
    eta = eta_seconds(services, job.pool, place, job.cost, seconds_per_step)
    return QueueView.model_construct(position=place.position, position_capped=place.capped, eta_seconds=eta)


def eta_seconds(
    services: Services, pool: Pool, place: Place, cost: int, seconds_per_step: float | None
) -> float | None:
    """When the job might be done: what is ahead is shared by the live workers, its own part is not."""
    workers = live_workers(services).get(pool, 0)
    if seconds_per_step is None or workers == 0:
        return None
    return round((place.cost_ahead / workers + cost) * seconds_per_step, 3)


def checkpoint_ref(checkpoint: Checkpoint) -> CheckpointRef:
    """Name and revision."""
    return CheckpointRef.model_construct(name=checkpoint.name, revision=checkpoint.revision)


def artifact_view(artifact: Artifact) -> ArtifactView:
    """One picture."""
    return ArtifactView.model_construct(
        id=artifact.id,
        index=artifact.index,
        media_type=artifact.media_type,
        name=artifact.name,
        size_bytes=artifact.size_bytes,
        width=artifact.width,
        height=artifact.height,
        seed=artifact.seed,
        sha256=artifact.sha256,
        pixels_sha256=artifact.pixels_sha256,
        url=f"/v1/artifacts/{artifact.id}/content",
    )


def job_urls(job_id: UUID) -> JobUrls:
    """Absolute paths."""
    base = f"/v1/jobs/{job_id}"
    return JobUrls.model_construct(
        self=base,
        events=f"{base}/events",
        cancel=f"{base}/cancel",
        retry=f"{base}/retry",
        reproduce=f"{base}/reproduce",
        result=f"{base}/result",
        preview=f"{base}/preview",
    )


def _fields(
    job: Job,
    checkpoint: CheckpointRef,
    artifacts: list[Artifact],
    queue: QueueView | None,
    progress: Progress | None,
) -> Mapping[str, Any]:
    error = None
    if job.error_code is not None:
        error = JobError.model_construct(code=job.error_code, detail=job.error_detail or "")
    return {
        "id": job.id,
        "state": job.state,
        "task": job.task,
        "checkpoint": checkpoint,
        "params": job.params,
        "tag": job.tag,
        "priority": job.priority,
        "lane": LANES[job.lane],
        "reproducible": job.reproducible,
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested,
        "queue": queue,
        "progress": _progress_view(job, progress),
        "artifacts": [artifact_view(artifact) for artifact in artifacts],
        "result": job.result,
        "error": error,
        "source_job_id": job.source_job_id,
        "needs": needs_in(job.params),
        "chain_id": job.chain_id,
        "embed_prompt": job.embed_prompt,
        "webhook": _webhook_view(job),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "deadline_at": job.deadline_at,
        "results_expire_at": job.results_expire_at,
        "urls": job_urls(job.id),
    }


def _webhook_view(job: Job) -> JobWebhookView | None:
    if job.webhook_endpoint_id is None:
        return None
    return JobWebhookView(id=job.webhook_endpoint_id, events=job.webhook_events)


def _progress_view(job: Job, progress: Progress | None) -> ProgressView | None:
    # What an attempt before this one left on the board says nothing about it.
    if progress is None or job.state is not JobState.RUNNING or progress.attempt != job.attempt:
        return None
    return ProgressView.model_construct(
        phase=progress.phase, step=progress.step, total_steps=progress.total_steps, preview=progress.preview
    )


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView.model_construct(
        number=attempt.number,
        worker=attempt.worker,
        outcome=attempt.outcome,
        error_code=attempt.error_code,
        error_detail=attempt.error_detail,
        batch_jobs=attempt.batch_jobs,
        measures=attempt.measures,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
    )
