"""`create_app(settings)`: the Flask application, and which rooms it serves."""

from importlib.metadata import PackageNotFoundError, version

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api.access_log import install_access_log
from api.artifacts.routes import room as artifacts
from api.audit.routes import room as audit
from api.auth import install_auth
from api.checkpoints.routes import room as checkpoints
from api.clients.routes import room as clients
from api.events.routes import room as events
from api.headers import install_headers
from api.health.routes import room as health
from api.jobs.routes import room as jobs
from api.keys.routes import room as keys
from api.limits import install_limits
from api.metrics import install_metrics
from api.openapi import DocumentedApp, install_docs
from api.problems import install_problems
from api.room import Room
from api.services import Services, install
from api.tasks.routes import room as tasks
from api.uploads.routes import room as uploads
from api.verify.routes import room as verify
from api.webhooks.routes import room as webhooks
from api.workers.routes import room as workers
from models.settings import Settings, get_settings

ROOMS: tuple[Room, ...] = (
    jobs,
    events,
    artifacts,
    uploads,
    verify,
    tasks,
    checkpoints,
    workers,
    keys,
    clients,
    webhooks,
    audit,
    health,
)
MAX_FORM_PARTS = 8


def create_app(settings: Settings | None = None) -> Flask:
    """The application. Connects to nothing before the first request."""
    settings = settings or get_settings()
    app = DocumentedApp("api", _version())
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        PROPAGATE_EXCEPTIONS=False,
        TRAP_HTTP_EXCEPTIONS=False,
    )
    app.url_map.strict_slashes = True
    install(app, Services(settings))
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0)
    # In the order in which a request meets them.
    install_access_log(app)
    install_headers(app)
    install_auth(app)
    install_limits(app, settings)
    install_metrics(app)
    install_problems(app)
    for room in ROOMS:
        app.register_api(room)
    install_docs(app)
    flask_app: Flask = app
    return flask_app


def _version() -> str:
    try:
        return version("safelight")
    except PackageNotFoundError:
        return "0"
