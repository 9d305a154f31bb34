"""What `safelight doctor` says of the rows and of the connections; on real services, without a supervisor."""

import os
import subprocess
import sys
from uuid import UUID

import pytest

from models.connections import most_of
from models.jobs import CheckpointCard
from models.session import Sessions
from models.settings import Settings
from safelight.standalone.check import Level
from safelight.standalone.doctor_health import check_connections, check_invariants
from safelight.standalone.overview import ProcessStatus, Status
from tests.models.living import run, sweeper_alive, waits
from tests.models.test_invariants import BY_HAND, lively
from tests.seeding import Seeder

__all__ = ["lively"]


@pytest.fixture
def client(seed: Seeder) -> UUID:
    return seed.client("shop")


@pytest.fixture
def card(seed: Seeder) -> CheckpointCard:
    return seed.checkpoint()


def test_a_healthy_system_takes_one_line(lively: Sessions, environment: dict[str, str]) -> None:
    (check,) = check_invariants(environment)
    assert (check.name, check.level) == ("invariants", Level.OK)


@pytest.mark.parametrize("name", sorted(set(BY_HAND) - {"no_sweeper"}))
def test_a_broken_promise_fails_with_its_advice(name: str, lively: Sessions, environment: dict[str, str]) -> None:
    run(lively, BY_HAND[name])
    (check,) = check_invariants(environment)
    assert (check.name, check.level) == (name, Level.FAIL)
    assert "1 found" in check.detail
    assert check.remedy


def test_a_warning_is_no_failure(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, environment: dict[str, str]
) -> None:
    """Given work and no worker, then a sweeper that fell silent, then each is said in its own way, and for how long."""
    seed.job(client, card)
    waits(sessions)
    sweeper_alive(sessions)
    tight = {**environment, "SAFELIGHT_LEASE_SECONDS": "0.4", "SAFELIGHT_SWEEP_SECONDS": "0.05"}
    (check,) = check_invariants(tight)
    assert (check.name, check.level) == ("no_worker", Level.WARN)
    run(sessions, BY_HAND["no_sweeper"])
    found = {check.name: check for check in check_invariants(tight)}
    assert {name: check.level for name, check in found.items()} == {"no_worker": Level.WARN, "no_sweeper": Level.FAIL}
    assert "for 36" in found["no_worker"].detail
    assert "gpu" in found["no_worker"].detail


def test_a_database_that_is_not_there_is_an_error(environment: dict[str, str]) -> None:
    away = {**environment, "SAFELIGHT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:9/x"}
    with pytest.raises(RuntimeError):
        check_invariants(away)


def running(*names: str) -> Status:
    processes = tuple(ProcessStatus(name, "daemon", "ready", True, 1, 1.0, 0, None, {}) for name in names)
    return Status("home", running=True, ready=True, phase="ready", processes=processes)


def test_the_budget_adds_up_and_too_many_workers_are_a_warning(environment: dict[str, str], settings: Settings) -> None:
    """Given the process table of a machine, then what each may open is counted, and compared with what there is."""
    table = ("postgres", "migrate", "api", "gpu-1", "cpu-1", "scheduler", "webhooks")
    most = sum(most_of(settings, kind) for kind in ("api", "worker", "worker", "scheduler", "webhooks"))
    check = check_connections(environment, running(*table))
    assert check.level is Level.OK
    assert f"may open {most} connections, Postgres has room for 97" in check.detail
    crowded = check_connections({**environment, "SAFELIGHT_API_WORKERS": "4"}, running(*table))
    assert crowded.level is Level.WARN
    assert "max_connections" in crowded.remedy


def test_the_module_prints_without_a_warning(environment: dict[str, str]) -> None:
    argv = [sys.executable, "-W", "error", "-m", "models.connections"]
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
