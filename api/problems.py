"""Problem documents (RFC 9457): every error of every route, whoever raised it, leaves the API in this one form."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import structlog
from flask import Flask, Response, g, request
from flask_limiter.errors import RateLimitExceeded
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from models.errors import (
    ConflictError,
    FieldError,
    RequestError,
    RequestTimeoutError,
    StorageError,
    UnauthenticatedError,
    ValidationFailedError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:safelight:problem:"
RETRY_SECONDS = 2
"""Retry-After while a service behind the API does not answer."""

log = structlog.stdlib.get_logger("safelight.api")


class FieldProblem(BaseModel):
    """One wrong field."""

    pointer: str = Field(description="JSON pointer into the body, or /name of a query parameter or header.")
    code: str
    message: str


class Problem(BaseModel):
    """An error, in the form of RFC 9457. `code` is stable."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = Field(None, description="Of a 422: one entry for each wrong field.")


def problem_response(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    fields: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> Response:
    """The document as a response. `extra` members never replace the standard ones."""
    document: dict[str, Any] = {
        **(extra or {}),
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "request_id": g.get("request_id", ""),
    }
    if fields:
        document["errors"] = [vars(field) for field in fields]
    # Escaped, so that nothing a client sent can break the encoding of the answer.
    response = Response(json.dumps(document, ensure_ascii=True, default=str), status, mimetype=MEDIA_TYPE)
    response.headers.update(headers or {})
    g.problem_code = code
    return response


def install_problems(app: Flask) -> None:
    """Register the handlers; the most specific class wins."""
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(StorageError, _storage_error)
    for unreachable in (OperationalError, InterfaceError, PoolTimeoutError):
        app.register_error_handler(unreachable, _database_away)
    app.register_error_handler(DataError, _not_storable)
    app.register_error_handler(IntegrityError, _raced)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(ClientDisconnected, _cut_short)
    app.register_error_handler(RateLimitExceeded, _rate_limited)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _request_error(error: RequestError) -> Response:
    fields = error.fields if isinstance(error, ValidationFailedError) else ()
    extra = dict(error.extra)
    headers = {}
    retry_after = extra.pop("retry_after_seconds", RETRY_SECONDS if error.status >= HTTPStatus.BAD_GATEWAY else None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="safelight"'
    return problem_response(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        fields=fields,
        headers=headers,
        extra=extra,
    )


def _cut_short(_error: ClientDisconnected) -> Response:
    """A body that ended before its length: whoever is still there reads this."""
    return _request_error(RequestTimeoutError("The body did not come in time, or not whole."))


def _storage_error(error: StorageError) -> Response:
    log.warning("storage.unavailable", error=error.detail)
    return _unavailable(error.code, error.title, "The object store does not answer; try again in a moment.")


def _database_away(error: Exception) -> Response:
    cause = getattr(error, "orig", None) or error
    log.warning("database.unavailable", error=type(cause).__name__)
    return _unavailable(
        "database_unavailable", "The database is not available", "The database does not answer; try again in a moment."
    )


def _database_error(error: DBAPIError) -> Response:
    return _database_away(error) if error.connection_invalidated else _unexpected(error)


def _raced(error: IntegrityError) -> Response:
    log.warning("database.integrity", error=type(error.orig).__name__)
    return problem_response(
        status=409,
        code=ConflictError.code,
        title=ConflictError.title,
        detail="Somebody else changed the same thing at the same moment; look at it, and try again.",
    )


def _not_storable(error: DataError) -> Response:
    # The schemas should have refused the value: logged, so that they learn to.
    log.error("database.data_error", error=type(error.orig).__name__)
    return problem_response(
        status=422,
        code=ValidationFailedError.code,
        title=ValidationFailedError.title,
        detail="A value is out of the range that can be stored.",
        fields=[FieldError("", "not_storable", "A value is out of the range that can be stored.")],
    )


def _unavailable(code: str, title: str, detail: str) -> Response:
    return problem_response(
        status=503, code=code, title=title, detail=detail, headers={"Retry-After": str(RETRY_SECONDS)}
    )


def _rate_limited(error: RateLimitExceeded) -> Response:
    seconds = g.get("rate_reset_seconds", 1)
    return problem_response(
        status=429,
        code="rate_limited",
        title="Too many requests",
        detail=f"This key may send {error.limit.limit}; try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:  # a redirect of the router's
        return cast(Response, error.get_response())
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = error.description or phrase
    if isinstance(error, RequestEntityTooLarge):
        code, detail = "too_large", "The body is larger than this endpoint reads."
    if status == HTTPStatus.NOT_FOUND:
        detail = "There is nothing under this address."
    kept = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem_response(status=status, code=code, title=phrase, detail=detail, headers=kept)


def _unexpected(error: Exception) -> Response:
    log.error("request.crashed", exc_info=error)
    return problem_response(
        status=500,
        code="internal",
        title="Internal error",
        detail="Something went wrong here. The request id leads to the log line that says what.",
    )
