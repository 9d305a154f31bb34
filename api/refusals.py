"""What is answered to bytes that are no request: gunicorn's parser refused them, and Flask never hears of them.

A problem document like any other. gunicorn alone would answer with a page of HTML that repeats, as its log does, what
was sent; somebody puts a key into a line that is broken.
"""

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from gunicorn.http import errors

OF: Mapping[type[Exception], tuple[HTTPStatus, str, str]] = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "The request line is too long."),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "request_header_fields_too_large",
        "The header has too many fields, or one that is too long.",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "expectation_failed",
        "The only expectation that is met is 100-continue.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "not_implemented",
        "The only transfer coding that is read is chunked.",
    ),
    errors.InvalidHTTPVersion: (HTTPStatus.BAD_REQUEST, "bad_request", "The version of HTTP is not one that is read."),
    errors.ParseException: (HTTPStatus.BAD_REQUEST, "bad_request", "This is no request of HTTP/1.1."),
}
"""The first that fits; the last fits everything that the parser raises."""
OURS = (HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong here.")
MISTAKES = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
"""Of the application's: parse errors by descent only."""


def is_refused(error: Exception) -> bool:
    """Whether the client's bytes are at fault."""
    return isinstance(error, errors.ParseException) and not isinstance(error, MISTAKES)


def refusal(error: Exception) -> bytes:
    """The whole answer, after which the connection is closed."""
    status, code, detail = OURS
    if is_refused(error):
        status, code, detail = next(said for kind, said in OF.items() if isinstance(error, kind))
    request_id = uuid.uuid4().hex
    document = {
        "type": f"urn:safelight:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": "",
        "code": code,
        "request_id": request_id,
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: no-referrer\r\n"
        f"X-Request-ID: {request_id}\r\n\r\n"
    )
    return head.encode() + body
