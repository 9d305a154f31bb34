"""The application starts without torch, without numpy, and without connecting to anything."""

import subprocess
import sys

from api.app import create_app
from models.settings import Settings

SCRIPT = """
import sys
import api.wsgi
heavy = {"torch", "numpy", "diffusers", "transformers", "PIL.ImageTk", "worker", "safelight"} & set(sys.modules)
assert not heavy, heavy
assert api.wsgi.app.test_client().get("/v1/health/live").json == {"status": "alive"}
"""


def test_it_starts_without_torch_and_without_services(environment: dict[str, str]) -> None:
    nowhere = {
        "SAFELIGHT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "SAFELIGHT_REDIS_URL": "redis://127.0.0.1:1/0",
        "SAFELIGHT_S3_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | nowhere, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_applications_do_not_meet(settings: Settings) -> None:
    first, second = create_app(settings), create_app(settings)
    assert first.extensions["safelight"] is not second.extensions["safelight"]
