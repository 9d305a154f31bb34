"""`celery -A tests.security.leaky_app`: the worker's app, with the leaky family known in both of its processes."""

from tests.security import leaky  # noqa: F401  # registers the family
from worker.app import app

app.conf.include = [*app.conf.include, "tests.security.leaky_app"]
