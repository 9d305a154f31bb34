"""One tree of errors for the whole product. Each class has a stable `code` and writes its message once.

`RequestError` ends as a problem document (RFC 9457) with its `status`. `RunError` is raised by pipelines and workers,
is written to the attempt, and its class decides whether the job is tried again. Foreign errors are mapped where they
enter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class SafelightError(Exception):
    """The root. `code` is stable and machine-readable; `detail` says what happened and what to do."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **extra: Any) -> None:
        """`extra` goes into the problem document or the attempt's error detail as it is."""
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class StorageError(SafelightError):
    """S3 did not answer or refused. The API says 503; a worker keeps the bytes and tries again."""

    code = "storage_unavailable"
    title = "Storage is not available"


# --- what a request can do wrong ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldError:
    """One wrong field: `pointer` is a JSON pointer into the request body, e.g. `/params/width`."""

    pointer: str
    code: str
    message: str


class RequestError(SafelightError):
    """The request cannot be served as it is; becomes a problem document with this status."""

    status: ClassVar[int] = 400
    code = "bad_request"
    title = "Bad request"


class ValidationFailedError(RequestError):
    """Fields that do not fit, one entry each."""

    status = 422
    code = "validation_failed"
    title = "The request does not fit its schema"

    def __init__(self, fields: Sequence[FieldError]) -> None:
        """At least one field."""
        first = fields[0]
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        super().__init__(f"{first.pointer or '/'}: {first.message}{more}")
        self.fields = tuple(fields)


class NotFoundError(RequestError):
    """No such thing, or not this client's: the answer is the same."""

    status = 404
    code = "not_found"
    title = "Not found"

    @classmethod
    def of(cls, kind: str, key: object) -> "NotFoundError":
        """E.g. `NotFoundError.of("job", job_id)`."""
        return cls(f"There is no {kind} {str(key)!r} that this key can see.")


class UnauthenticatedError(RequestError):
    """No key, or one that is unknown, expired or revoked."""

    status = 401
    code = "unauthenticated"
    title = "A valid API key is needed"


class TooManyGuessesError(RequestError):
    """Too many keys from one address did not fit."""

    status = 429
    code = "too_many_failed_keys"
    title = "Too many keys that do not fit"


class ForbiddenError(RequestError):
    """The key's role does not allow this."""

    status = 403
    code = "forbidden"
    title = "This key may not do that"


class ConflictError(RequestError):
    """The thing is not in a state that allows the request."""

    status = 409
    code = "conflict"
    title = "Not possible in this state"


class GoneError(RequestError):
    """It was there, and its retention ended."""

    status = 410
    code = "gone"
    title = "Deleted"


class IdempotencyMismatchError(RequestError):
    """The key was used within 24 hours for another body."""

    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency-Key was used for another request"


class QuotaExceededError(RequestError):
    """The client holds as many live jobs as it may. `retry_after_seconds` goes into Retry-After."""

    status = 429
    code = "quota_exceeded"
    title = "Quota exceeded"


class RequestTimeoutError(RequestError, TimeoutError):
    """The client sends its request too slowly."""

    status = 408
    code = "request_timeout"
    title = "The request came too slowly"


class UnsupportedMediaError(RequestError):
    """Not a type that the endpoint reads."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class TooLargeError(RequestError):
    """More bytes or pixels than allowed."""

    status = 413
    code = "too_large"
    title = "Too large"


class UnavailableError(RequestError):
    """A service behind the API does not answer; try again."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"


# --- what a run can do wrong -------------------------------------------------------------------------------------


class RunError(SafelightError):
    """An attempt ended without a result. The class decides what follows; see `models.jobs.fail`."""

    code = "pipeline_error"
    title = "The pipeline failed"


class InvalidInputError(RunError):
    """The job can never succeed as it is (bad image, prompt too long for the text encoder): rejected for good."""

    code = "invalid_input"
    title = "The input cannot be used"


class OutOfMemoryError(RunError):
    """The device's memory did not suffice, after every step of the ladder was tried."""

    code = "out_of_memory"
    title = "Out of device memory"


class PipelineFailedError(RunError):
    """An error of the application: tried again up to the cap of application errors."""

    code = "pipeline_error"


class RunTimedOutError(RunError):
    """The pipeline ran longer than `run_timeout_seconds`: an error of the application, like any other of its kind."""

    code = "timed_out"
    title = "The pipeline took too long"


class TransientError(RunError):
    """Infrastructure failed (S3, Postgres, the Hub): tried again for as long as the infrastructure budget lasts."""

    code = "infrastructure"
    title = "A service failed for too long"


class CheckpointUnavailableError(RunError):
    """The checkpoint's files are missing or their hashes do not match: rejected for good."""

    code = "checkpoint_unavailable"
    title = "The checkpoint cannot be loaded"


class StoppedError(SafelightError):
    """The item must not go on: it was canceled, or its lease is gone. Steers the worker; never shown to a client."""

    code = "stopped"


WORKER_LOST = "worker_lost"
"""`error_code` of a job whose worker died at the crash cap."""
UPSTREAM_FAILED = "upstream_failed"
"""`error_code` of a job that waited for another which did not succeed."""
