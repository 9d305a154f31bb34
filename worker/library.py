"""Other checkpoints for a running pipeline: a scorer for best-of-n, a LoRA's files. See `worker.pipelines.base`."""

from sqlalchemy import select

from models.checkpoints import Checkpoint, find_for_task
from models.errors import CheckpointUnavailableError, StorageError, TransientError, ValidationFailedError
from models.session import Sessions
from worker.checkpoint_files import CheckpointStore
from worker.pipelines.base import CheckpointFiles, Pipeline
from worker.residency import Residency


class ResidentLibrary:
    """Loads into the worker's residency; what runs now stays loaded, and so does what it has been given."""

    def __init__(self, sessions: Sessions, residency: Residency, store: CheckpointStore) -> None:
        self._sessions = sessions
        self._residency = residency
        self._store = store

    def pipeline(self, task: str, name: str | None = None, revision: str | None = None) -> Pipeline:
        """The checkpoint of that name, or the oldest that does the task, loaded beside the running one."""
        if name is not None and revision is not None:
            return self._residency.beside(self._find(name, revision).id).pipeline
        try:
            with self._sessions() as session:
                row = find_for_task(session, task, name)
        except ValidationFailedError as error:
            raise CheckpointUnavailableError(error.fields[0].message) from error
        return self._residency.beside(row.id).pipeline

    def files(self, name: str, revision: str | None = None) -> CheckpointFiles:
        """The verified files of a checkpoint, of that revision if one is given."""
        row = self._find(name, revision)
        try:
            return self._store.files_of(row)
        except StorageError as error:
            raise TransientError(error.detail) from error

    def _find(self, name: str, revision: str | None) -> Checkpoint:
        """Also one that is not enabled any more."""
        query = select(Checkpoint).where(Checkpoint.name == name).order_by(Checkpoint.enabled.desc())
        if revision is not None:
            query = query.where(Checkpoint.revision == revision)
        with self._sessions() as session:
            row = session.scalars(query.limit(1)).one_or_none()
        if row is None:
            raise CheckpointUnavailableError(f"The checkpoint {name!r} is not registered any more.")
        return row
