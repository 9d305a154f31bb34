"""The request id, and one log line for each request. Never a body, never a key, never a query string."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

log = structlog.stdlib.get_logger("safelight.api.access")
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADER = "X-Request-ID"


def install_access_log(app: Flask) -> None:
    """First of all before a request, last of all after it."""
    app.before_request(_begin)
    app.after_request(_end)


def route_template() -> str:
    """The route as it was declared: bounded, unlike the path."""
    return request.url_rule.rule if request.url_rule is not None else "unmatched"


def elapsed_seconds() -> float:
    """Since the request began."""
    return time.perf_counter() - float(g.get("began_at", time.perf_counter()))


def _begin() -> None:
    given = request.headers.get(HEADER, "")
    g.request_id = given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
    g.began_at = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    principal = g.get("principal")
    log.info(
        "request",
        method=request.method,
        route=route_template(),
        status=response.status_code,
        ms=round(elapsed_seconds() * 1000, 1),
        key=principal.key_id if principal else None,
        code=g.get("problem_code"),
        request_id=g.request_id,
    )
    return response
