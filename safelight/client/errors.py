"""One tree of errors for the client.  Foreign errors (httpx, JSON, files) are mapped to it where they enter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from safelight.client.values import Job


class SafelightClientError(Exception):
    """The root: everything that a method of the client raises."""


class NotConfiguredError(SafelightClientError):
    """Neither an argument, nor the environment, nor a local installation says where the API is, or with which key."""


class ApiUnreachableError(SafelightClientError):
    """No answer: nothing listens, the connection broke, or it took too long, also after the retries."""


class ProtocolError(SafelightClientError):
    """Something answered, and it is not a Safelight API of a version that this client understands."""


class StreamBrokenError(ApiUnreachableError):
    """The event stream broke again and again without a word; the job itself goes on."""


class CorruptDownloadError(SafelightClientError):
    """The bytes do not have the SHA-256 that the API names.  Nothing was written."""


class LocalFileError(SafelightClientError):
    """A file of this machine cannot be read or written."""


class WaitTimeoutError(SafelightClientError, TimeoutError):
    """The job is not final yet after the given time.  It goes on; `job` is its last view."""

    def __init__(self, job: "Job", timeout_seconds: float) -> None:
        super().__init__(f"Job {job.id} is still {job.state} after {timeout_seconds:g} s; it goes on.")
        self.job = job


class JobFailedError(SafelightClientError):
    """The job ended without a result: failed, canceled or expired.  `job` says why."""

    def __init__(self, job: "Job") -> None:
        reason = f": {job.error.detail} [{job.error.code}]" if job.error else ""
        super().__init__(f"Job {job.id} {job.state}{reason}")
        self.job = job


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that does not fit: `pointer` is a JSON pointer into the request body, e.g. `/params/width`."""

    pointer: str
    code: str
    message: str


class ApiError(SafelightClientError):
    """The API refused: an RFC 9457 problem document with a stable `code`."""

    #: Which statuses become this class; see `api_error`.
    statuses: ClassVar[frozenset[int]] = frozenset()

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        title: str = "",
        fields: Sequence[FieldError] = (),
        request_id: str = "",
        retry_after_seconds: float | None = None,
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or title or code)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.fields = tuple(fields)
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.raw: Mapping[str, Any] = raw or {}
        """The whole document, with what a newer API adds."""


class InvalidRequestError(ApiError):
    """The request does not fit; `fields` names what."""

    statuses = frozenset({400, 413, 415, 422})


class AuthenticationError(ApiError):
    """No key, or one that is unknown, expired or revoked."""

    statuses = frozenset({401})


class PermissionDeniedError(ApiError):
    """The key's role does not allow it."""

    statuses = frozenset({403})


class NotFoundError(ApiError):
    """No such thing, or not this key's to see."""

    statuses = frozenset({404, 410})


class ConflictError(ApiError):
    """The thing is not in a state that allows it."""

    statuses = frozenset({409})


class RateLimitedError(ApiError):
    """Too many requests, or too many live jobs; `retry_after_seconds` says when to come back."""

    statuses = frozenset({429})


class ServerError(ApiError):
    """The API, or a service behind it, has trouble of its own."""

    statuses = frozenset(range(500, 600))


_CLASSES: tuple[type[ApiError], ...] = (
    InvalidRequestError,
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    ConflictError,
    RateLimitedError,
    ServerError,
)


def api_error(status: int, problem: Mapping[str, Any], retry_after_seconds: float | None = None) -> ApiError:
    """The problem document as the class that fits its status; whatever is missing in it is left empty."""
    entries = problem.get("errors")
    fields = [
        FieldError(str(entry.get("pointer", "")), str(entry.get("code", "")), str(entry.get("message", "")))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping)
    ]
    kind = next((kind for kind in _CLASSES if status in kind.statuses), ApiError)
    return kind(
        status,
        str(problem.get("code") or f"http_{status}"),
        str(problem.get("detail") or ""),
        title=str(problem.get("title") or ""),
        fields=fields,
        request_id=str(problem.get("request_id") or ""),
        retry_after_seconds=retry_after_seconds,
        raw=problem,
    )
