"""Real Postgres, Valkey and SeaweedFS for tests, in a folder that is theirs alone.

    with running_services() as services:
        engine = create_engine(services.database_url)

They end with the block, and also when the test process is killed: a helper process holds them and watches a pipe from
here.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where the objects are, and with which keys."""

    endpoint_url: str
    region: str
    bucket: str
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True, slots=True)
class Services:
    """The three running services."""

    home: Path
    database_url: str
    redis_url: str
    s3: S3Settings

    def environment(self) -> dict[str, str]:
        """The settings that the application reads."""
        return {
            "SAFELIGHT_HOME": str(self.home),
            "SAFELIGHT_DATABASE_URL": self.database_url,
            "SAFELIGHT_REDIS_URL": self.redis_url,
            "SAFELIGHT_S3_ENDPOINT_URL": self.s3.endpoint_url,
            "SAFELIGHT_S3_REGION": self.s3.region,
            "SAFELIGHT_S3_BUCKET": self.s3.bucket,
            "SAFELIGHT_S3_ACCESS_KEY_ID": self.s3.access_key_id,
            "SAFELIGHT_S3_SECRET_ACCESS_KEY": self.s3.secret_access_key,
        }


@contextlib.contextmanager
def running_services(home: Path | None = None, *, unsafe: bool = True) -> Iterator[Services]:
    """Bring the three up, and down at the end.

    Without ``home`` they get a fresh folder, removed at the end; that is what a session fixture wants.  So they do, as
    root, when Postgres' own user may not enter ``home`` (pytest's ``tmp_path`` is private).  ``unsafe``: fsync off.
    """
    with contextlib.ExitStack() as stack:
        if home is None or not _reachable(home):
            home = Path(tempfile.mkdtemp(prefix="safelight-test-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
        yield stack.enter_context(_services_in(home, unsafe=unsafe))


@contextlib.contextmanager
def _services_in(home: Path, *, unsafe: bool) -> Iterator[Services]:
    argv = [
        sys.executable,
        "-m",
        "safelight.standalone.embedded",
        "--home",
        str(home),
        *(["--unsafe"] if unsafe else []),
    ]
    helper = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        answer = helper.stdout.readline()
        if not answer:
            raise RuntimeError(f"the services did not start (exit code {helper.wait()}); see {home / 'logs'}")
        yield _parse(home, json.loads(answer))
    finally:
        helper.stdin.close()
        try:
            helper.wait(STOP_SECONDS)
        finally:
            helper.kill()
            helper.wait()
            helper.stdout.close()


def _parse(home: Path, settings: Mapping[str, str]) -> Services:
    s3 = S3Settings(
        endpoint_url=settings["SAFELIGHT_S3_ENDPOINT_URL"],
        region=settings["SAFELIGHT_S3_REGION"],
        bucket=settings["SAFELIGHT_S3_BUCKET"],
        access_key_id=settings["SAFELIGHT_S3_ACCESS_KEY_ID"],
        secret_access_key=settings["SAFELIGHT_S3_SECRET_ACCESS_KEY"],
    )
    return Services(home.resolve(), settings["SAFELIGHT_DATABASE_URL"], settings["SAFELIGHT_REDIS_URL"], s3)


def _reachable(home: Path) -> bool:
    """Whether the user that runs Postgres, when we are root, may pass through to this folder."""
    return os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in home.resolve().parents)
