"""From what a client asked for to what is stored: params parsed, checked against the checkpoint, priced.

Nothing is written here, so a `dry_run` stops after it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.errors import FieldError, ValidationFailedError
from models.params import TASKS, CheckpointProfile, TaskParams, parse_params
from models.states import Lane, Pool

MIN_PRIORITY, MAX_PRIORITY = -100, 100


@dataclass(frozen=True)
class CheckpointCard:
    """What submitting needs to know of a checkpoint; small and immutable, so the API may keep it for a moment."""

    id: UUID
    name: str
    family: str
    revision: str
    pool: Pool
    profile: CheckpointProfile
    seconds_per_step: float | None


@dataclass(frozen=True)
class Submission:
    """A job as T1 will insert it."""

    client_id: UUID
    task: str
    checkpoint_id: UUID
    pool: Pool
    params: TaskParams
    batch_key: str
    retention_seconds: int
    lane: Lane = Lane.INTERACTIVE
    priority: int = 0
    tag: str | None = None
    reproducible: bool = False
    deadline_seconds: float | None = None
    idempotency_key: str | None = None
    request_sha256: bytes | None = None
    source_job_id: UUID | None = None
    webhook_endpoint_id: UUID | None = None
    webhook_events: tuple[str, ...] | None = None
    reproduces: bool = False
    embed_prompt: bool = False
    chain_id: UUID | None = None

    @property
    def cost(self) -> int:
        """Steps × images."""
        return self.params.cost()


def parse_task(task: str, raw: Mapping[str, Any]) -> TaskParams:
    """The params of a task by its schema.

    Raises:
        ValidationFailedError: unknown task, or wrong fields.
    """
    schema = TASKS.get(task)
    if schema is None:
        raise ValidationFailedError([FieldError("/task", "unknown_task", f"Known tasks are {', '.join(TASKS)}.")])
    return parse_params(schema, raw)


def batch_key(task: str, checkpoint: CheckpointCard, params: TaskParams) -> str:
    """Jobs with equal keys may share a batch: same family, weights and shape of the call. `params` are resolved."""
    shape = json.dumps([task, checkpoint.family, str(checkpoint.id), checkpoint.revision, params.shape()])
    return hashlib.sha256(shape.encode()).hexdigest()[:32]


def request_digest(body: Mapping[str, Any]) -> bytes:
    """What an Idempotency-Key is bound to: the body, whatever the order of its keys."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).digest()
