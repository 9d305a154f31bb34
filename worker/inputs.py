"""What a job takes from elsewhere, fetched before its run: pictures and data sets as bytes, prompts as text.

Never on the device's time: the next batch's inputs come while the present one runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models.artifacts import Artifact, Upload
from models.clients import Client
from models.errors import InvalidInputError, NotFoundError, RunError, StorageError, TransientError
from models.jobs import ClaimedJob, Job
from models.params import CheckpointProfile, DiffusionParams, InputRef, TaskParams, TextRef
from models.params.words import has_blocked_word
from models.session import Sessions
from models.storage import Storage
from worker.pipelines.base import Blob, Item


@dataclass(frozen=True)
class Fetched:
    """The inputs of one job, or why they are not to be had."""

    blobs: Mapping[str, Blob] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    """Words that the client's prompts may not have; looked up where another job wrote one."""
    error: RunError | None = None


class InputReader:
    """Reads rows and objects. Thread-safe."""

    def __init__(self, sessions: Sessions, storage: Storage, blocked_words: tuple[str, ...] = ()) -> None:
        self._sessions = sessions
        self._storage = storage
        self._blocked_by_all = blocked_words

    def fetch(self, job: ClaimedJob, params: TaskParams) -> Fetched:
        """Everything that the params name. Never raises; most jobs name nothing."""
        wanted = params.inputs()
        if not wanted:
            return Fetched()
        pointer = ""
        try:
            blobs: dict[str, Blob] = {}
            texts: dict[str, str] = {}
            for pointer, ref in wanted.items():
                if isinstance(ref, TextRef):
                    texts[pointer] = self._text(job.client_id, ref)
                else:
                    blobs[pointer] = self._blob(job.client_id, ref)
            blocked = self._blocked(job.client_id) if texts else ()
        except InvalidInputError as error:
            return Fetched(error=InvalidInputError(error.detail, job_id=str(job.job_id), field=f"/params/{pointer}"))
        except StorageError as error:
            return Fetched(error=TransientError(error.detail))
        except DBAPIError as error:
            return Fetched(error=TransientError(f"Postgres did not answer: {type(error.orig).__name__}."))
        return Fetched(blobs, texts, blocked)

    def _blocked(self, client_id: UUID) -> tuple[str, ...]:
        with self._sessions() as session:
            own = session.scalar(select(Client.blocked_words).where(Client.id == client_id))
        return (*self._blocked_by_all, *(own or ()))

    def _blob(self, client_id: UUID, ref: InputRef) -> Blob:
        with self._sessions() as session:
            key, media_type = _object_of(session, client_id, ref)
        try:
            return Blob(self._storage.get(key), media_type)
        except NotFoundError:
            raise InvalidInputError("This input was deleted.") from None

    def _text(self, client_id: UUID, ref: TextRef) -> str:
        with self._sessions() as session:
            query = select(Job.result).where(Job.id == ref.job, Job.client_id == client_id)
            result = session.scalars(query).one_or_none() or {}
        texts = result.get("texts") or []
        if ref.index >= len(texts):
            raise InvalidInputError(f"The job {ref.job} wrote {len(texts)} texts; there is no text {ref.index}.")
        return str(texts[ref.index])


def make_item(job: ClaimedJob, params: TaskParams, fetched: Fetched, profile: CheckpointProfile) -> Item:
    """The item of a job whose inputs are there.

    Raises:
        RunError: they are not, or the checkpoint does not take them.
    """
    if fetched.error is not None:
        raise fetched.error
    if (text := fetched.texts.get("prompt_from")) is not None and isinstance(params, DiffusionParams):
        if has_blocked_word(text, fetched.blocked):
            detail = "The prompt that another job wrote has a word that is not allowed here."
            raise InvalidInputError(detail, job_id=str(job.job_id), field="/params/prompt_from")
        params = params.model_copy(update={"prompt": text, "prompt_from": None})
        for found in params.text_problems(profile):
            raise InvalidInputError(found.message, job_id=str(job.job_id), field="/params/prompt_from")
    return Item(job.job_id, job.task, params, fetched.blobs)


def _object_of(session: Session, client_id: UUID, ref: InputRef) -> tuple[str, str]:
    """Key and media type of an input that this client may use."""
    if ref.upload is not None:
        row = session.execute(
            select(Upload.key, Upload.media_type).where(Upload.id == ref.upload, Upload.client_id == client_id)
        ).one_or_none()
        if row is None:
            raise InvalidInputError(f"The upload {ref.upload} was deleted.")
        return row.key, row.media_type
    query = select(Artifact.key, Artifact.media_type).join(Job, Job.id == Artifact.job_id)
    query = query.where(Job.client_id == client_id)
    if ref.artifact is not None:
        row = session.execute(query.where(Artifact.id == ref.artifact)).one_or_none()
        told = f"The artifact {ref.artifact} was deleted."
    else:
        row = session.execute(query.where(Artifact.job_id == ref.job, Artifact.index == ref.index)).one_or_none()
        told = f"The job {ref.job} has no output {ref.index}, or its results were deleted or withheld."
    if row is None:
        raise InvalidInputError(told)
    return row.key, row.media_type
