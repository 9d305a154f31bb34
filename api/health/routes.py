"""GET /v1/health/live and /v1/health/ready, public and outside the rate limit; /v1/health/invariants for operators."""

from http import HTTPStatus

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from api.auth import Access
from api.fleet import live_workers
from api.health.checks import Checks
from api.health.invariants import invariants_view, state_of
from api.health.schemas import InvariantsView, LiveView, Readiness, ReadyView
from api.room import Answer, Room
from api.services import get_services
from models.invariants import INVARIANTS

NEEDED = frozenset({"database", "s3"})
_EXTENSION = "safelight.checks"

room = Room("health", "Is it alive, can it serve.")


@room.endpoint("get", "/health/live", access=Access.PUBLIC, answers={200: LiveView})
def get_live() -> Answer:
    """Whether the process answers."""
    return Answer(LiveView())


@room.endpoint("get", "/health/ready", access=Access.PUBLIC, answers={200: ReadyView, 503: ReadyView})
def get_ready() -> Answer:
    """Whether requests can be served: Postgres and S3 are needed; without Redis jobs start a few seconds later.

    `degraded` also says that the invariant monitor found a promise broken.
    """
    services = get_services()
    asked: Checks = current_app.extensions.setdefault(_EXTENSION, Checks(services))
    found = asked.run()
    down = {name for name, service in found.items() if service.state == "down"}
    status = Readiness.UNREADY if down & NEEDED else Readiness.DEGRADED if down else Readiness.READY
    workers = checks = None
    if "database" not in down:
        try:
            workers = {pool.value: count for pool, count in live_workers(services).items()}
            health = services.monitor.health()
        except SQLAlchemyError:
            status = Readiness.UNREADY
        else:
            checks = {invariant.name: state_of(health, invariant) for invariant in INVARIANTS}
            status = Readiness.DEGRADED if status is Readiness.READY and health.broken else status
    view = ReadyView(status=status, services=found, workers=workers, checks=checks)
    return Answer(view, HTTPStatus.SERVICE_UNAVAILABLE if status is Readiness.UNREADY else HTTPStatus.OK)


@room.endpoint("get", "/health/invariants", access=Access.VIEW_ALL, answers={200: InvariantsView})
def get_invariants() -> Answer:
    """What must always hold, whether it does, and what to do where it does not.

    Some seconds old at most. `warning`: slower or with less room than it should; `broken`: a promise does not hold.
    """
    return Answer(invariants_view(get_services().monitor.health()))
