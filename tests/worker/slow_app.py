"""`celery -A tests.worker.slow_app`: the worker's app, with the test family known in the main process and its child."""

from tests.worker import slow  # noqa: F401  # registers the family
from worker.app import app

app.conf.include = [*app.conf.include, "tests.worker.slow_app"]
