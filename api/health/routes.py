"""GET /v1/health/live and /v1/health/ready: public, and outside the rate limit."""

from http import HTTPStatus

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from api.auth import Access
from api.fleet import live_workers
from api.health.checks import Checks
from api.health.schemas import LiveView, Readiness, ReadyView
from api.room import Answer, Room
from api.services import get_services

NEEDED = frozenset({"database", "s3"})
_EXTENSION = "safelight.checks"

room = Room("health", "Is it alive, can it serve.")


@room.endpoint("get", "/health/live", access=Access.PUBLIC, answers={200: LiveView})
def get_live() -> Answer:
    """Whether the process answers."""
    return Answer(LiveView())


@room.endpoint("get", "/health/ready", access=Access.PUBLIC, answers={200: ReadyView, 503: ReadyView})
def get_ready() -> Answer:
    """Whether requests can be served: Postgres and S3 are needed; without Redis jobs start a few seconds later."""
    services = get_services()
    checks: Checks = current_app.extensions.setdefault(_EXTENSION, Checks(services))
    found = checks.run()
    down = {name for name, service in found.items() if service.state == "down"}
    status = Readiness.UNREADY if down & NEEDED else Readiness.DEGRADED if down else Readiness.READY
    workers = None
    if "database" not in down:
        try:
            workers = {pool.value: count for pool, count in live_workers(services).items()}
        except SQLAlchemyError:
            status = Readiness.UNREADY
    view = ReadyView(status=status, services=found, workers=workers)
    return Answer(view, HTTPStatus.SERVICE_UNAVAILABLE if status is Readiness.UNREADY else HTTPStatus.OK)
