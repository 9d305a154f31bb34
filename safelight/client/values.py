"""What the client hands out: frozen views of jobs, artifacts and events, with the API's own JSON in `raw`.

Reading is tolerant: a field that a newer API adds is ignored here and found in `raw`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self, TypeVar, cast

from safelight.client.errors import ProtocolError

V = TypeVar("V")

LIVE_STATES: frozenset[str] = frozenset({"waiting", "queued", "running"})
"""The job is still to end."""
FINAL_STATES: frozenset[str] = frozenset({"succeeded", "failed", "canceled", "expired"})
"""Nothing moves a job out of these."""


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """The checkpoint of a job; `revision` is the SHA-256 of its manifest."""

    name: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a queued job stands: how many go before it (capped: at least so many), and when it might be done."""

    position: int | None = None
    position_capped: bool = False
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is.  `preview` counts the previews so far; 0 means none."""

    phase: str = ""
    step: int = 0
    total_steps: int = 0
    preview: int = 0


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a stable code, and a sentence."""

    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One published picture or file, or an upload (which has no job)."""

    id: str
    media_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int
    index: int = 0
    seed: int | None = None
    name: str | None = None
    pixels_sha256: str | None = None
    job_id: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def suffix(self) -> str:
        """Of a file name: `.png`, `.webp`, `.jpg` or that of its own name."""
        if self.name and "." in self.name:
            return "." + self.name.rpartition(".")[2]
        return {"image/jpeg": ".jpg"}.get(self.media_type, "." + self.media_type.rpartition("/")[2])

    @classmethod
    def read(cls, raw: Mapping[str, Any], job_id: str = "") -> Self:
        """From the API's JSON.  Raises ProtocolError."""
        if not isinstance(raw, Mapping) or not raw.get("id"):
            raise ProtocolError(f"This is not an artifact: {str(raw)[:200]}")
        return cls(
            id=str(raw["id"]),
            media_type=str(raw.get("media_type") or "image/png"),
            size_bytes=int(raw.get("size_bytes") or 0),
            sha256=str(raw.get("sha256") or ""),
            width=int(raw.get("width") or 0),
            height=int(raw.get("height") or 0),
            index=int(raw.get("index") or 0),
            seed=raw.get("seed"),
            name=raw.get("name"),
            pixels_sha256=raw.get("pixels_sha256"),
            job_id=str(raw.get("job_id") or job_id),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the API last showed it.  It never changes: ask again for a newer view."""

    id: str
    state: str
    task: str
    checkpoint: CheckpointRef
    params: Mapping[str, Any] = field(hash=False)
    tag: str | None
    priority: int
    lane: str
    reproducible: bool
    attempt: int
    cancel_requested: bool
    queue: QueuePlace | None
    progress: Progress | None
    artifacts: tuple[Artifact, ...]
    result: Mapping[str, Any] = field(hash=False)
    """What it says beside its artifacts: texts, scores, figures; empty until it has succeeded."""
    needs: tuple[str, ...]
    """Ids of the jobs whose outputs it takes."""
    chain_id: str | None
    error: JobError | None
    source_job_id: str | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    results_expire_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        """Whether its pictures are there."""
        return self.state == "succeeded"

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """From the API's JSON.  Raises ProtocolError."""
        if not isinstance(raw, Mapping) or not raw.get("id") or not raw.get("state"):
            raise ProtocolError(f"This is not a job: {str(raw)[:200]}")
        error, job_id = raw.get("error"), str(raw["id"])
        return cls(
            id=job_id,
            state=str(raw["state"]),
            task=str(raw.get("task") or ""),
            checkpoint=_pick(CheckpointRef, raw.get("checkpoint") or {"name": ""}),
            params=raw.get("params") or {},
            tag=raw.get("tag"),
            priority=int(raw.get("priority") or 0),
            lane=str(raw.get("lane") or "interactive"),
            reproducible=bool(raw.get("reproducible")),
            attempt=int(raw.get("attempt") or 0),
            cancel_requested=bool(raw.get("cancel_requested")),
            queue=_pick(QueuePlace, raw["queue"]) if raw.get("queue") else None,
            progress=_pick(Progress, raw["progress"]) if raw.get("progress") else None,
            artifacts=tuple(Artifact.read(entry, job_id) for entry in raw.get("artifacts") or ()),
            result=raw.get("result") or {},
            needs=tuple(raw.get("needs") or ()),
            chain_id=raw.get("chain_id"),
            error=JobError(str(error.get("code") or ""), str(error.get("detail") or "")) if error else None,
            source_job_id=raw.get("source_job_id"),
            created_at=_moment(raw.get("created_at")),
            started_at=_moment(raw.get("started_at")),
            finished_at=_moment(raw.get("finished_at")),
            deadline_at=_moment(raw.get("deadline_at")),
            results_expire_at=_moment(raw.get("results_expire_at")),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job's stream.  `progress` has no id: it is not stored and cannot be asked for again."""

    name: str
    data: Mapping[str, Any] = field(hash=False)
    id: str | None = None

    @property
    def state(self) -> str | None:
        """The state that a `job.<state>` event tells of; None for any other event."""
        prefix, _, state = self.name.partition(".")
        return state if prefix == "job" and state in LIVE_STATES | FINAL_STATES else None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing comes after it."""
        return self.state in FINAL_STATES


def _pick(kind: type[V], raw: Any) -> V:
    """The fields of `raw` that this dataclass knows."""
    if not isinstance(raw, Mapping):
        raise ProtocolError(f"Expected an object for {kind.__name__}, got {str(raw)[:200]}")
    known = {entry.name for entry in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in raw.items() if name in known and value is not None})


def _moment(raw: Any) -> datetime | None:
    """An aware datetime."""
    if not raw:
        return None
    try:
        found = datetime.fromisoformat(str(raw))
    except ValueError as error:
        raise ProtocolError(f"This is not a time: {raw!r}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
