"""The part of ``doctor`` that asks the application's own rooms, as processes: invariants and the connection budget."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from safelight.standalone.check import Check, Level, ok, warn
from safelight.standalone.overview import Status

SECONDS = 60
#: What Postgres keeps for its superuser and for maintenance may not be counted on.
ROOM = """SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - current_setting('reserved_connections')::int"""


def check_invariants(environment: Mapping[str, str]) -> list[Check]:
    """One line for each promise that does not hold, or one that says that all do."""
    said = _ask("models.invariants", environment)
    found = [_invariant(check) for check in said["checks"] if check["count"]]
    return found or [ok("invariants", f"all {len(said['checks'])} hold")]


def _invariant(check: Mapping[str, Any]) -> Check:
    level = Level.FAIL if check["severity"] == "broken" else Level.WARN
    since = f", for {check['seconds']:.0f} s" if check["seconds"] is not None else ""
    detail = f"does not hold: {check['promise']} {check['count']} found{since}: {', '.join(check['examples'][:3])}"
    return Check(check["name"], level, detail, check["advice"])


def check_connections(environment: Mapping[str, str], status: Status) -> Check:
    """Whether Postgres has room for what the processes of this machine may open at their worst."""
    import psycopg  # noqa: PLC0415  a slow import

    kinds = Counter(kind for process in status.processes if (kind := _kind(process.name)))
    budget = _ask("models.connections", environment)
    most = sum(count * int(budget[kind]) for kind, count in kinds.items())
    with psycopg.connect(
        environment["SAFELIGHT_DATABASE_URL"].replace("+psycopg", ""), connect_timeout=5
    ) as connection:
        row = connection.execute(ROOM).fetchone()
    room = int(row[0]) if row else 0
    detail = f"the processes of this machine may open {most} connections, Postgres has room for {room}"
    if most > room:
        remedy = "raise max_connections, or lower SAFELIGHT_DATABASE_POOL_SIZE, SAFELIGHT_API_WORKERS or the workers"
        return warn("connections", detail, remedy)
    return ok("connections", detail)


def _kind(name: str) -> str | None:
    """Which budget a line of the process table has; None for services and tasks."""
    if name.startswith(("gpu-", "cpu-")):
        return "worker"
    return name if name in {"api", "scheduler", "webhooks"} else None


def _ask(module: str, environment: Mapping[str, str]) -> Any:
    """What a module of another room prints: rooms are only ever started, never imported."""
    argv = [sys.executable, "-m", module]
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    if not done.stdout:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"{module} said nothing"])[-1])
    return json.loads(done.stdout)
