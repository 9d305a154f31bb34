"""The client's face: one method per thing that the API does.  How each works is told in the files beside this one."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, Unpack, overload
from urllib.parse import quote

from safelight.client import files, uploads
from safelight.client.errors import ConflictError, JobFailedError, NotFoundError, ServerError
from safelight.client.requests import JobOptions, idempotency_headers, job_body, with_inputs
from safelight.client.retry import NO_RETRIES, RetryPolicy
from safelight.client.stream import EventFollower
from safelight.client.target import find_target
from safelight.client.transport import Request, Transport
from safelight.client.values import Artifact, Event, Job
from safelight.client.waiting import OnProgress, Waiter
from safelight.client.webhooks import Webhooks

DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_PATIENCE_SECONDS = 300.0
PAGE_SIZE = 100

Json: TypeAlias = dict[str, Any]
Rows: TypeAlias = list[dict[str, Any]]


class Client:
    """A connection to a Safelight API.  Thread-safe; close it, or use it as a context manager.

    Without arguments: SAFELIGHT_URL and SAFELIGHT_KEY, else the installation in `.safelight` (or SAFELIGHT_HOME).

    `timeout` bounds one answer, `retry` one request with its retries, and `patience` how long `wait` and `events` bear
    an API that is away; all in seconds.  Every method raises an error of `safelight.client.errors`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        home: str | Path | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        patience: float = DEFAULT_PATIENCE_SECONDS,
        retry: RetryPolicy | None = None,
    ) -> None:
        target = find_target(url, key, Path(home) if home is not None else None)
        self._transport = Transport(target, timeout, retry or RetryPolicy())
        self._patience = patience

    @property
    def url(self) -> str:
        """The address of the API."""
        return self._transport.target.url

    @property
    def webhooks(self) -> Webhooks:
        """Where the API tells of jobs."""
        return Webhooks(self._transport)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- jobs --------------------------------------------------------------------------------------------------------

    def submit(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        prompt: str | None = None,
        class_label: int | str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Hand in a job.  `prompt` and `class_label` are params too, and may be given by name.

        Where a param takes a picture or a data set, give a `Path` (uploaded first), a `Job` whose output it is, or an
        `Artifact`.  With `then` the jobs after it are handed in as well, and the last of them is what comes back.

        It is safe to repeat: an idempotency key is made when none is given, and kept over the retries.
        """
        body = self._body(task, params, {"prompt": prompt, "class_label": class_label}, options)
        headers = idempotency_headers(options.get("idempotency_key"))
        return self._job(Request("POST", "/jobs", json=body, headers=headers))

    def dry_run(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        prompt: str | None = None,
        class_label: int | str | None = None,
        **options: Unpack[JobOptions],
    ) -> Json:
        """What a submit would do: the resolved params and the price, as the API says it.  Nothing is queued."""
        body = self._body(task, params, {"prompt": prompt, "class_label": class_label}, options)
        return self._object(Request("POST", "/jobs", query={"dry_run": "true"}, json=body, repeatable=True))

    def _body(self, task: str, params: Mapping[str, Any] | None, sugar: Mapping[str, Any], options: JobOptions) -> Json:
        body = job_body(task, params, sugar, options)
        body["params"] = with_inputs(body["params"], self.upload)
        if "then" in body:
            body["then"] = with_inputs(body["then"], self.upload)
        return body

    def run(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        prompt: str | None = None,
        class_label: int | str | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Submit and wait.

        Raises:
            JobFailedError: it ended without a result.  WaitTimeoutError: it goes on after `timeout` seconds.
        """
        job = self.submit(task, params, prompt=prompt, class_label=class_label, **options)
        job = self.wait(job, timeout, on_progress)
        if not job.succeeded:
            raise JobFailedError(job)
        return job

    def get(self, job: Job | str) -> Job:
        """The job as it is now, with its attempts in `raw`."""
        return self._job(Request("GET", _job_path(job)))

    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        task: str | None = None,
        checkpoint: str | None = None,
        tag: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs that match (of several states: of any of them), newest first.

        Pages are fetched as they are needed; `limit` bounds them all together.
        """
        left = limit
        states = [state] if isinstance(state, str) else [*(state or ())]
        query: Json = {"state": states, "task": task, "checkpoint": checkpoint, "tag": tag}
        query |= {"created_after": _iso(created_after), "created_before": _iso(created_before)}
        while left is None or left > 0:
            size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            page = self._object(Request("GET", "/jobs", query={**query, "limit": size}))
            items = page.get("items") or []
            yield from (Job.read(item) for item in items)
            left = left - len(items) if left is not None else None
            query["cursor"] = page.get("cursor")
            if not items or not query["cursor"]:
                return

    def wait(self, job: Job | str, timeout: float | None = None, on_progress: OnProgress | None = None) -> Job:
        """The job once it is final, however it ended.  `on_progress` gets every view on the way, the last one too.

        Raises:
            WaitTimeoutError: it is not final after `timeout` seconds.
        """
        return Waiter(self._transport, _id(job), self._patience).wait(timeout, on_progress)

    def events(self, job: Job | str, *, after: str | None = None) -> Iterator[Event]:
        """The job's events from its beginning (or from the one with the id `after`) until the terminal one.

        Broken connections are taken up again where they broke; `progress` events may get lost there.
        """
        return iter(EventFollower(self._transport, _id(job), after, self._patience))

    def cancel(self, job: Job | str, *, chain: bool = False) -> Job:
        """End it as soon as possible, and what waits for its output; with `chain` the rest of its chain as well.

        A running job stops at its next step.

        Raises:
            ConflictError: it ended before.
        """
        try:
            query = {"chain": "true"} if chain else {}
            return self._job(Request("POST", f"{_job_path(job)}/cancel", query=query, repeatable=True))
        except ConflictError:
            # Our first request may have done it, and only its answer have been lost.
            if (found := self.get(job)).state == "canceled":
                return found
            raise

    def retry(self, job: Job | str) -> Job:
        """A new job with the params of one that failed, was canceled or expired."""
        return self._job(Request("POST", f"{_job_path(job)}/retry", headers=idempotency_headers()))

    def reproduce(self, job: Job | str) -> Job:
        """A new job that runs one that succeeded once more; `result["reproduction"]` says whether it is the same."""
        return self._job(Request("POST", f"{_job_path(job)}/reproduce", headers=idempotency_headers()))

    def clone(self, job: Job | str, changes: Mapping[str, Any] | None = None) -> Job:
        """A new job like this one; `changes` replaces fields of its request, e.g. `{"params": {"seed": 8}}`."""
        path = f"{_job_path(job)}/clone"
        return self._job(Request("POST", path, json=dict(changes or {}), headers=idempotency_headers()))

    def delete(self, job: Job | str) -> None:
        """Forget a final job and its pictures."""
        self._transport.json(Request("DELETE", _job_path(job)))

    # --- pictures ----------------------------------------------------------------------------------------------------

    @overload
    def download(self, what: Artifact, to: str | Path = ".") -> Path: ...
    @overload
    def download(self, what: Job | str, to: str | Path = ".") -> Sequence[Path]: ...
    def download(self, what: Artifact | Job | str, to: str | Path = ".") -> Path | Sequence[Path]:
        """Fetch a picture, or all of a job's, to a folder or a file (numbered when there are several).

        A file appears whole and checked against its SHA-256, or not at all; one that is there is replaced.
        """
        if isinstance(what, Artifact):
            place = Path(to)
            place = place / f"{what.id}{what.suffix}" if files.is_folder(place) else place
            return files.download(self._transport, what, place)
        job = what if isinstance(what, Job) and what.is_final else self.get(what)
        return [files.download(self._transport, *pair) for pair in files.destinations(job, Path(to))]

    def preview(self, job: Job | str) -> bytes | None:
        """The newest preview of a running job as PNG; None when there is none."""
        try:
            return self._transport.send(Request("GET", f"{_job_path(job)}/preview")).content or None
        except NotFoundError:
            return None

    def upload(self, path: str | Path, *, direct: bool = False) -> Artifact:
        """Hand in a picture, or a data set: a zip of pictures, or a folder of them, which is packed on the way.

        What a data set holds stands in `raw["details"]`.  With `direct` the file goes straight to the object storage,
        which must be reachable from here, and the API only looks through it: for large data sets.
        """
        return Artifact.read(uploads.send(self._transport, Path(path), direct=direct))

    def verify(self, path: str | Path) -> Json:
        """Whether a picture was made here: artifacts with its bytes or its pixels, and what the file claims."""
        with files.upload_part(Path(path)) as part:
            return self._object(Request("POST", "/verify", files={"file": part}, repeatable=True))

    # --- what there is -----------------------------------------------------------------------------------------------

    def tasks(self) -> Rows:
        """What can be asked for, with the JSON schema of its params."""
        return self._rows("/tasks")

    def checkpoints(self) -> Rows:
        """The registered checkpoints, with bounds and defaults."""
        return self._rows("/checkpoints")

    def checkpoint(self, name: str) -> Json:
        """One checkpoint."""
        return self._object(Request("GET", f"/checkpoints/{quote(name, safe='')}"))

    def add_checkpoint(
        self, location: str, *, name: str | None = None, pool: str | None = None, base: str | None = None, **more: Any
    ) -> Json:
        """Register a folder that every worker can read.  Needs an admin's key.

        `base` is what a ControlNet runs over unless a job names another.  `more` are the fields of the other sources,
        e.g. `source="hub"` with its `family`, `tasks` and `files`.
        """
        body = {"source": "local", "location": location, "name": name, "pool": pool, "base": base, **more}
        body = {field: value for field, value in body.items() if value is not None}
        # The same files give the same revision: registering twice does no more than once.
        return self._object(Request("POST", "/checkpoints", json=body, repeatable=True))

    # --- keys --------------------------------------------------------------------------------------------------------

    def keys(self) -> Rows:
        """The keys, without their secrets.  Needs an admin's key."""
        return self._rows("/keys")

    def create_key(
        self, client: str, role: str = "client", *, name: str | None = None, expires_in_days: int | None = None
    ) -> Json:
        """A new key for a client, who is made when new.  `key` is in this answer and never seen again."""
        body = {"client": client, "role": role, "name": name, "expires_in_days": expires_in_days}
        body = {field: value for field, value in body.items() if value is not None}
        return self._object(Request("POST", "/keys", json=body, repeatable=False))

    def revoke_key(self, key_id: str) -> None:
        """End a key now."""
        self._transport.json(Request("DELETE", f"/keys/{quote(key_id, safe='')}"))

    # --- clients -----------------------------------------------------------------------------------------------------

    def clients(self) -> Rows:
        """Every client with its share and limits.  Needs a viewer's key."""
        return [*self._pages("/clients", {}, None)]

    def set_client(
        self,
        name: str,
        *,
        weight: float | None = None,
        max_live_jobs: int | None = None,
        max_priority: int | None = None,
        safety_threshold: float | Literal["off"] | None = None,
        blocked_words: Sequence[str] | None = None,
    ) -> Json:
        """Change a client's share, limits and filters; what is None stays.  Needs an admin's key."""
        given = {
            "weight": weight,
            "max_live_jobs": max_live_jobs,
            "max_priority": max_priority,
            "safety_threshold": safety_threshold,
            "blocked_words": None if blocked_words is None else list(blocked_words),
        }
        body: Json = {field: value for field, value in given.items() if value is not None}
        if safety_threshold == "off":
            body["safety_threshold"] = None
        return self._object(Request("PATCH", f"/clients/{quote(name, safe='')}", json=body, repeatable=True))

    def audit(self, subject: str | None = None, *, limit: int | None = None) -> Rows:
        """What operators and admins did (to one subject), newest first.  Needs an admin's key."""
        return [*self._pages("/audit", {"subject": subject}, limit)]

    # --- the installation --------------------------------------------------------------------------------------------

    def workers(self) -> Rows:
        """The workers that are alive.  Needs a viewer's key."""
        return self._rows("/workers")

    def queues(self) -> Rows:
        """How much waits, by pool.  Needs a viewer's key."""
        return self._rows("/queues")

    def ready(self) -> Json:
        """How the services behind the API are: `status` is ready, degraded or unready.  Asked once, no retries."""
        try:
            return self._object(Request("GET", "/health/ready"), NO_RETRIES)
        except ServerError as error:
            if "status" not in error.raw or "services" not in error.raw:
                raise
            return dict(error.raw)

    def me(self) -> Json:
        """Who this key belongs to, and what it may do."""
        return self._object(Request("GET", "/me"))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _job(self, request: Request) -> Job:
        return Job.read(self._transport.json(request))

    def _object(self, request: Request, policy: RetryPolicy | None = None) -> Json:
        found = self._transport.json(request, policy)
        return found if isinstance(found, dict) else {"value": found}

    def _pages(self, path: str, query: Json, limit: int | None) -> Iterator[Json]:
        """Every row of a list that comes in pages."""
        left, query = limit, dict(query)
        while left is None or left > 0:
            query["limit"] = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            page = self._object(Request("GET", path, query=query))
            items = page.get("items") or []
            yield from items
            left = None if left is None else left - len(items)
            query["cursor"] = page.get("cursor")
            if not items or not query["cursor"]:
                return

    def _rows(self, path: str) -> Rows:
        found = self._transport.json(Request("GET", path))
        return (found.get("items") or []) if isinstance(found, dict) else (found or [])


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def _job_path(job: Job | str) -> str:
    return f"/jobs/{quote(_id(job), safe='')}"


def _iso(moment: datetime | None) -> str | None:
    """With its offset; a naive one is meant as this machine's time."""
    return moment.astimezone().isoformat() if moment else None
