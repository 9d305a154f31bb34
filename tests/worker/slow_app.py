"""`celery -A tests.worker.slow_app`: the worker's app, with the tests' families in the main process and its child."""

from tests.worker import heavy, slow  # noqa: F401  # registers the families
from worker.app import app

app.conf.include = [*app.conf.include, "tests.worker.slow_app"]
