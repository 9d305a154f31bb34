"""Step progress and latent previews of running jobs, in Redis: many a second, lossy, gone after a minute.

Readers get `None` when Redis is away; nothing here may ever decide what happens to a job.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import redis

PROGRESS_SECONDS = 90
PREVIEW_SECONDS = 90


@dataclass(frozen=True)
class Progress:
    """How far a running attempt is. `phase` is loading, running or storing."""

    attempt: int
    phase: str
    step: int
    total_steps: int
    preview: int = 0
    """Number of the newest preview; 0 when there is none."""


class ProgressBoard:
    """Where workers write progress and the API reads it."""

    def __init__(self, connection: "redis.Redis") -> None:
        self._redis: Any = connection

    def put(self, progress: Mapping[UUID, Progress], previews: Mapping[UUID, bytes] | None = None) -> None:
        """Write several jobs' progress (and PNG previews) in one round trip; silent when Redis is away."""
        with contextlib.suppress(redis.RedisError):
            pipe = self._redis.pipeline(transaction=False)
            for job_id, entry in progress.items():
                pipe.set(_progress_key(job_id), json.dumps(asdict(entry)), ex=PROGRESS_SECONDS)
            for job_id, picture in (previews or {}).items():
                pipe.set(_preview_key(job_id), picture, ex=PREVIEW_SECONDS)
            pipe.execute()

    def get(self, job_ids: Sequence[UUID]) -> dict[UUID, Progress]:
        """What is known of these jobs."""
        if not job_ids:
            return {}
        try:
            found = self._redis.mget([_progress_key(job_id) for job_id in job_ids])
        except redis.RedisError:
            return {}
        return {job_id: Progress(**json.loads(raw)) for job_id, raw in zip(job_ids, found, strict=True) if raw}

    def preview(self, job_id: UUID) -> bytes | None:
        """The newest preview as PNG."""
        try:
            found = self._redis.get(_preview_key(job_id))
        except redis.RedisError:
            return None
        return bytes(found) if found else None


def _progress_key(job_id: UUID) -> str:
    return f"safelight:progress:{job_id}"


def _preview_key(job_id: UUID) -> str:
    return f"safelight:preview:{job_id}"
