"""The Python client: submit jobs, wait for them, fetch their pictures.  Knows httpx, and nothing of the application."""

from safelight.client.client import Client
from safelight.client.errors import (
    ApiError,
    ApiUnreachableError,
    AuthenticationError,
    ConflictError,
    CorruptDownloadError,
    FieldError,
    InvalidRequestError,
    JobFailedError,
    LocalFileError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    SafelightClientError,
    ServerError,
    StreamBrokenError,
    WaitTimeoutError,
)
from safelight.client.requests import JobOptions, JobWebhook
from safelight.client.retry import RetryPolicy
from safelight.client.values import Artifact, CheckpointRef, Event, Job, JobError, Progress, QueuePlace
from safelight.client.webhooks import Webhooks

__all__ = [
    "ApiError",
    "ApiUnreachableError",
    "Artifact",
    "AuthenticationError",
    "CheckpointRef",
    "Client",
    "ConflictError",
    "CorruptDownloadError",
    "Event",
    "FieldError",
    "InvalidRequestError",
    "Job",
    "JobError",
    "JobFailedError",
    "JobOptions",
    "JobWebhook",
    "LocalFileError",
    "NotConfiguredError",
    "NotFoundError",
    "PermissionDeniedError",
    "Progress",
    "ProtocolError",
    "QueuePlace",
    "RateLimitedError",
    "RetryPolicy",
    "SafelightClientError",
    "ServerError",
    "StreamBrokenError",
    "WaitTimeoutError",
    "Webhooks",
]
