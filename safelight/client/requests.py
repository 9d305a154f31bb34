"""The body of a submit, from what a caller finds easy to write."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from safelight.client.values import Artifact, Job


class JobWebhook(TypedDict, total=False):
    """The webhook of one job."""

    url: Required[str]
    events: Sequence[str]
    """E.g. `["job.running", "job.succeeded"]`; how it ended if absent."""


class JobOptions(TypedDict, total=False):
    """Everything beside the params.  What is absent is left to the API."""

    checkpoint: str
    """A name; the newest checkpoint of the task if absent."""
    priority: int
    lane: Literal["interactive", "bulk"]
    tag: str
    """Your own word, to find the job again."""
    deadline_seconds: float
    """The job expires when it has not started by then."""
    reproducible: bool
    """Run alone, so that the last bits are the same each time."""
    embed_prompt: bool
    """Write the prompt into the files."""
    then: Sequence[Mapping[str, Any]]
    """Jobs that take the output, one after the other: `{"task": "upscale", "params": {"scale": 4}}`."""
    retention_days: int
    webhook: str | JobWebhook | None
    """Where to tell of this job, beside the webhooks that hear of every job; a URL, or one with its events."""
    idempotency_key: str
    """Sending the same key with the same request again gives the same job; one is made when absent."""


def job_body(
    task: str, params: Mapping[str, Any] | None, sugar: Mapping[str, Any], options: JobOptions
) -> dict[str, Any]:
    """The JSON of `POST /v1/jobs`.  `sugar` are params by their own names; None means absent."""
    body: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    body.pop("idempotency_key", None)
    if isinstance(body.get("webhook"), str):
        body["webhook"] = {"url": body["webhook"]}
    given = {name: value for name, value in sugar.items() if value is not None}
    return {"task": task, **body, "params": {**(params or {}), **given}}


def with_inputs(value: Any, upload: Callable[[Path], Artifact]) -> Any:
    """The same params with references in place of files (uploaded now), jobs and artifacts, however deep they are."""
    if isinstance(value, Path):
        return {"upload": upload(value).id}
    if isinstance(value, Job):
        return {"job": value.id}
    if isinstance(value, Artifact):
        return {"artifact" if value.job_id else "upload": value.id}
    if isinstance(value, Mapping):
        return {name: with_inputs(entry, upload) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [with_inputs(entry, upload) for entry in value]
    return value


def idempotency_headers(key: str | None = None) -> dict[str, str]:
    """The header that makes a POST repeatable."""
    return {"Idempotency-Key": key or str(uuid.uuid4())}
