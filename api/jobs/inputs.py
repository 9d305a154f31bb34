"""What a job names beside its numbers: uploads, artifacts, other jobs, LoRAs. All are looked up before it is taken.

Only the client's own things are found; whether one is there and not its own is not told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs.choosing import load_base
from api.services import Services
from models.artifacts import Artifact, Upload, UploadKind
from models.checkpoints.registry import find_adapter
from models.errors import FieldError, ValidationFailedError
from models.jobs import Job
from models.params import TASKS, CheckpointProfile, ControlParams, DiffusionParams, InputRef, Kind, TaskParams
from models.states import FINAL_STATES, JobState

PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
ZIP = "application/zip"


@dataclass(frozen=True)
class Previous:
    """The job before this one in its chain."""

    task: str
    params: TaskParams


@dataclass(frozen=True)
class Found:
    """One input as it was found; the size is known of pictures that are there."""

    size: tuple[int, int] | None = None


class Refusal(Exception):  # noqa: N818  # it steers, and ends as a field error
    """Why an input is not taken."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_inputs(
    services: Services, client_id: UUID, params: TaskParams, profile: CheckpointProfile, previous: Previous | None
) -> None:
    """Look up what the params name.

    Raises:
        ValidationFailedError: one entry for each that is not there, is of another kind or of the wrong size.
    """
    wanted = params.inputs()
    if not wanted:
        return
    faults: list[FieldError] = []
    sizes: dict[str, tuple[int, int]] = {}
    with services.reader() as session:
        for pointer, ref in wanted.items():
            try:
                found = _find(session, client_id, ref, previous)
                if found.size is not None:
                    _check_pixels(found.size, profile)
                    sizes[pointer] = found.size
            except Refusal as refused:
                faults.append(FieldError(f"/params/{pointer}", refused.code, refused.message))
    faults += params.check_sizes(sizes)
    if faults:
        raise ValidationFailedError(faults)


def with_revisions(services: Services, params: TaskParams) -> TaskParams:
    """The params with the revision of each LoRA and of a base: a job keeps its weights when the name gets new ones.

    Raises:
        ValidationFailedError: there is no LoRA of that name.
    """
    if isinstance(params, ControlParams):
        revision = None if params.base is None else load_base(services, params.base).revision
        params = params.model_copy(update={"base_revision": revision})
    if not isinstance(params, DiffusionParams) or not params.loras:
        return params
    with services.reader() as session:
        found = tuple(
            lora.model_copy(update={"revision": find_adapter(session, lora.name, f"/params/loras/{at}/name").revision})
            for at, lora in enumerate(params.loras)
        )
    return params.model_copy(update={"loras": found})


def needs_in(params: dict[str, Any]) -> list[UUID]:
    """The jobs that stored params name, each once."""
    return list(dict.fromkeys(_needs(params)))


def _needs(params: dict[str, Any]) -> Iterator[UUID]:
    for value in params.values():
        for entry in value if isinstance(value, list) else (value,):
            if isinstance(entry, dict) and entry.get("job"):
                yield UUID(entry["job"])


def _find(session: Session, client_id: UUID, ref: InputRef, previous: Previous | None) -> Found:
    if ref.upload is not None:
        return _upload(session, client_id, ref)
    if ref.artifact is not None:
        return _artifact(session, client_id, ref)
    if ref.job is not None:
        return _job(session, client_id, ref)
    if previous is None:
        raise Refusal("no_previous", "There is no job before this one: `previous` is for the steps of `then`.")
    _check_output(ref, previous.task, previous.params)
    return Found()


def _upload(session: Session, client_id: UUID, ref: InputRef) -> Found:
    query = select(Upload.kind, Upload.width, Upload.height)
    row = session.execute(query.where(Upload.id == ref.upload, Upload.client_id == client_id)).one_or_none()
    if row is None:
        raise Refusal("upload_unknown", f"There is no upload {str(ref.upload)!r} of yours.")
    wanted = UploadKind.DATA_SET if ref.kind is Kind.DATA_SET else UploadKind.PICTURE
    if row.kind is not wanted:
        raise Refusal("wrong_kind", f"This upload is a {_word(row.kind)}; a {_word(wanted)} is wanted.")
    return Found((row.width, row.height) if row.width and row.height else None)


def _artifact(session: Session, client_id: UUID, ref: InputRef) -> Found:
    query = select(Artifact.media_type, Artifact.width, Artifact.height).join(Job, Job.id == Artifact.job_id)
    row = session.execute(query.where(Artifact.id == ref.artifact, Job.client_id == client_id)).one_or_none()
    if row is None:
        raise Refusal("artifact_unknown", f"There is no artifact {str(ref.artifact)!r} of yours.")
    return _media(ref, row)


def _job(session: Session, client_id: UUID, ref: InputRef) -> Found:
    query = select(Job.state, Job.task, Job.params, Job.result).where(Job.id == ref.job, Job.client_id == client_id)
    job = session.execute(query).one_or_none()
    if job is None:
        raise Refusal("job_unknown", f"There is no job {str(ref.job)!r} of yours.")
    if job.state in FINAL_STATES and job.state is not JobState.SUCCEEDED:
        raise Refusal("job_without_output", f"The job {ref.job} is {job.state.value}: there is no output to take.")
    if job.state is not JobState.SUCCEEDED:
        _check_output(ref, job.task, TASKS[job.task].model_validate(job.params))
        return Found()
    if ref.kind is Kind.TEXT:
        texts = len(job.result.get("texts") or [])
        if ref.index >= texts:
            raise Refusal("no_such_output", f"The job {ref.job} wrote {texts} texts.")
        return Found()
    outputs = select(Artifact.media_type, Artifact.width, Artifact.height)
    row = session.execute(outputs.where(Artifact.job_id == ref.job, Artifact.index == ref.index)).one_or_none()
    if row is None:
        raise Refusal("no_such_output", f"The job {ref.job} has no output {ref.index}, or its results were deleted.")
    return _media(ref, row)


def _check_output(ref: InputRef, task: str, params: TaskParams) -> None:
    """Of a job that is still under way: whether it will make such a thing, as far as that is known."""
    made = type(params).produces
    if made is not ref.kind:
        raise Refusal("wrong_kind", f"A job of the task {task} makes a {_word(made)}; a {_word(ref.kind)} is wanted.")
    count = params.outputs()
    if count is not None and ref.index >= count:
        raise Refusal("no_such_output", f"That job makes {count} outputs, numbered from 0.")


def _media(ref: InputRef, row: Any) -> Found:
    fits = row.media_type == ZIP if ref.kind is Kind.DATA_SET else row.media_type in PICTURES
    if not fits:
        raise Refusal("wrong_kind", f"This output is {row.media_type}; a {_word(ref.kind)} is wanted.")
    return Found((row.width, row.height) if row.width and row.height else None)


def _check_pixels(size: tuple[int, int], profile: CheckpointProfile) -> None:
    width, height = size
    if width * height > profile.max_input_pixels:
        most = f"{profile.max_input_pixels:,}"
        raise Refusal("too_large", f"{width} × {height} pixels are more than this checkpoint takes ({most}).")


def _word(kind: Kind | UploadKind) -> str:
    return kind.value.replace("_", " ")
