"""A job's shelf in S3: what a training puts aside, so that the next attempt goes on from there.

A key says the step, the attempt and the hash of what lies there; nothing is overwritten. States of one job are worth
the same whoever saved them, so an attempt that lost its lease does no harm by a last one. The sweeper empties the
shelves of jobs that have ended.
"""

import hashlib

import structlog

from models.artifacts import training_key, training_prefix
from models.errors import NotFoundError, StorageError, TransientError
from models.jobs import Hold
from models.storage import Storage

KEPT = 2
"""The newest may be cut off by what killed its writer; the one before is whole."""
MEDIA_TYPE = "application/octet-stream"

log = structlog.get_logger()


class JobShelf:
    """Of one attempt; reads what all attempts of its job saved."""

    def __init__(self, storage: Storage, hold: Hold) -> None:
        self._storage = storage
        self._hold = hold

    def save(self, step: int, body: bytes) -> bool:
        """Put a state aside and clear away all but the newest two. False when storage is away: the run goes on."""
        digest = hashlib.sha256(body).hexdigest()
        try:
            self._storage.put(training_key(self._hold.job_id, self._hold.attempt, step, digest), body, MEDIA_TYPE)
            self._storage.delete(self._keys()[KEPT:])
        except StorageError as error:
            log.warning("a state could not be put aside", job=str(self._hold.job_id), step=step, error=error.detail)
            return False
        return True

    def load(self) -> bytes | None:
        """The newest state that is whole, or None when there is none.

        Raises:
            TransientError: storage is away.
        """
        try:
            for key in self._keys():
                body = self._body(key)
                if body is not None and hashlib.sha256(body).hexdigest() == key.rpartition("-")[2]:
                    log.info("goes on from what was put aside", job=str(self._hold.job_id), key=key)
                    return body
        except StorageError as error:
            raise TransientError(error.detail) from error
        return None

    def _body(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key)
        except NotFoundError:  # cleared away meanwhile
            return None

    def _keys(self) -> list[str]:
        """Newest first."""
        found = self._storage.listing(training_prefix(self._hold.job_id))
        return sorted((blob.key for blob in found), reverse=True)
