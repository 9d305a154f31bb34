"""The part of ``doctor`` that asks what runs: database, Redis, S3, API, workers; ``doctor_health`` asks the rows.

With ``--external`` it asks the services that the environment names.
"""

import json
import os
import secrets
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from safelight.standalone import doctor_health, launch, seaweed, services
from safelight.standalone import ports as port_choice
from safelight.standalone.check import Check, attempt, attempt_all, fail, ok, warn
from safelight.standalone.children import READY_PATH
from safelight.standalone.layout import Layout
from safelight.standalone.overview import Status

SEEN_SECONDS = 60
NEW_ENOUGH_POSTGRES = 180_000
UP = "safelight up"


def examine(layout: Layout, status: Status) -> list[Check]:
    """Ask everything that runs; when nothing does, say only that."""
    if not status.running:
        return [warn("running", f"Safelight does not run on {layout.home}; what runs was not asked", UP)]
    try:
        environment = _environment(layout, status)
    except (OSError, KeyError, ValueError) as error:
        return [
            fail("running", f"the settings of the running services cannot be read: {error}", "safelight down, then up")
        ]
    logs = f"see {layout.logs}"
    checks: dict[str, tuple[Callable[[], Check], str]] = {
        "running": (lambda: _running(status), logs),
        "database": (lambda: _database(environment), logs),
        "migrations": (lambda: _migrations(environment), "python -m models.migrate"),
        "redis": (lambda: _redis(environment), logs),
        "s3": (lambda: _s3(environment), logs),
        "api": (lambda: _api(status), logs),
        "workers": (lambda: _workers(environment), logs),
        "connections": (lambda: doctor_health.check_connections(environment, status), logs),
    }
    found = [attempt(name, check, remedy) for name, (check, remedy) in checks.items()]
    return found + attempt_all("invariants", lambda: doctor_health.check_invariants(environment), logs)


def _environment(layout: Layout, status: Status) -> Mapping[str, str]:
    if status.external:
        return launch.external_environment(os.environ)
    return services.environment(layout.load_secrets(), port_choice.load(layout.ports_file))


def _running(status: Status) -> Check:
    behind = [process.name for process in status.processes if not process.ready]
    restarted = [f"{process.name} ({process.restarts})" for process in status.processes if process.restarts]
    if behind:
        return fail("running", f"not ready: {', '.join(behind)}", "safelight status, then the logs of these")
    if restarted:
        return warn("running", f"everything is ready; restarted: {', '.join(restarted)}", "see their logs for why")
    return ok("running", f"{len(status.processes)} processes, pid {status.pid}")


def _dsn(environment: Mapping[str, str]) -> str:
    return environment["SAFELIGHT_DATABASE_URL"].replace("postgresql+psycopg://", "postgresql://")


def _database(environment: Mapping[str, str]) -> Check:
    import psycopg  # noqa: PLC0415  a slow import

    with psycopg.connect(_dsn(environment), connect_timeout=5) as connection:
        version = connection.info.server_version
    detail = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < NEW_ENOUGH_POSTGRES:
        return warn("database", detail, "Safelight is tested on PostgreSQL 18")
    return ok("database", detail)


def _migrations(environment: Mapping[str, str]) -> Check:
    import psycopg  # noqa: PLC0415  a slow import

    with psycopg.connect(_dsn(environment), connect_timeout=5) as connection:
        row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return fail("migrations", "the database is empty", "python -m models.migrate")
        found = {str(version) for (version,) in connection.execute("SELECT version_num FROM alembic_version")}
    newest = _newest_migrations()
    if newest and found != newest:
        wanted = ", ".join(sorted(newest))
        return fail("migrations", f"at {', '.join(sorted(found))}, newest is {wanted}", "python -m models.migrate")
    return ok("migrations", f"at {', '.join(sorted(found))}")


def _newest_migrations() -> set[str]:
    """The heads of the installed migrations; empty when this installation does not hold them."""
    import importlib.util  # noqa: PLC0415  with its user

    from alembic.config import Config  # noqa: PLC0415  a slow import
    from alembic.script import ScriptDirectory  # noqa: PLC0415  the same

    found = importlib.util.find_spec("migrations")
    folders = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    for folder in folders:
        if (folder / "versions").is_dir():
            config = Config()
            config.set_main_option("script_location", str(folder).replace("%", "%%"))
            return set(ScriptDirectory.from_config(config).get_heads())
    return set()


def _redis(environment: Mapping[str, str]) -> Check:
    import redis  # noqa: PLC0415  a slow import

    client = redis.Redis.from_url(environment["SAFELIGHT_REDIS_URL"], socket_timeout=5, socket_connect_timeout=5)
    try:
        client.ping()
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
        version = client.info("server").get("redis_version")
    finally:
        client.close()
    if policy != "noeviction":
        return warn(
            "redis", f"maxmemory-policy is {policy}", "set it to noeviction, or waiting tickets are thrown away"
        )
    return ok("redis", f"speaks Redis {version}, {policy}")


def _s3(environment: Mapping[str, str]) -> Check:
    client = seaweed.client(
        environment.get("SAFELIGHT_S3_ENDPOINT_URL"),
        environment.get("SAFELIGHT_S3_ACCESS_KEY_ID"),
        environment.get("SAFELIGHT_S3_SECRET_ACCESS_KEY"),
        environment.get("SAFELIGHT_S3_REGION", seaweed.REGION),
    )
    bucket, key, body = environment["SAFELIGHT_S3_BUCKET"], f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(4096)
    began = time.monotonic()
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body)
        same = client.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        client.delete_object(Bucket=bucket, Key=key)
    finally:
        client.close()
    if not same:
        return fail("s3", f"an object came back from bucket {bucket} changed", "do not store results there")
    return ok("s3", f"put, got and deleted an object in bucket {bucket} in {time.monotonic() - began:.2f} s")


def _api(status: Status) -> Check:
    if not status.url:
        return warn("api", "this run has no API", UP)
    with urllib.request.urlopen(f"{status.url}{READY_PATH}", timeout=10) as answer:  # noqa: S310  # our own  # nosec B310
        said = json.loads(answer.read() or b"{}")
    return ok("api", f"ready at {status.url}" + (f" ({said['version']})" if "version" in said else ""))


def _workers(environment: Mapping[str, str]) -> Check:
    import psycopg  # noqa: PLC0415  a slow import

    query = "SELECT pool::text, count(*) FROM workers WHERE seen_at > now() - make_interval(secs => %s) GROUP BY pool"
    with psycopg.connect(_dsn(environment), connect_timeout=5) as connection:
        seen = connection.execute(query, (SEEN_SECONDS,)).fetchall()
    if not seen:
        detail = f"no worker was heard of in the last {SEEN_SECONDS} s: jobs will wait"
        return warn("workers", detail, "safelight up without --no-workers, or start workers elsewhere")
    return ok("workers", ", ".join(f"{count} {pool}" for pool, count in seen))
