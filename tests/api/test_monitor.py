"""The invariant monitor as the API shows it: metrics, readiness and the operators' view; its cache."""

import threading
import time
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from api.monitor import Monitor
from api.services import Services
from models.invariants import INVARIANTS, Health, examine
from models.jobs import CheckpointCard
from models.session import Sessions
from models.settings import Settings
from models.states import Role
from tests.api.conftest import Caller
from tests.api.helpers import eventually
from tests.api.test_problems import assert_problem
from tests.models.living import TIGHT, run, sweeper_alive, waits
from tests.models.test_invariants import BY_HAND, lively
from tests.seeding import Seeder

__all__ = ["lively"]


@pytest.fixture
def client(seed: Seeder) -> UUID:
    return seed.client("shop")


@pytest.fixture
def card(checkpoint: CheckpointCard) -> CheckpointCard:
    return checkpoint


def violations(caller: Caller) -> dict[str, float]:
    """By check, as Prometheus reads them."""
    lines = [line for line in caller.get("/metrics").text.splitlines() if line.startswith("safelight_invariant_viol")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


@pytest.fixture
def app_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={**TIGHT, "api_threads": 16})


def test_a_healthy_system_is_ready_and_every_check_is_shown(lively: Sessions, callers: dict[Role, Caller]) -> None:
    viewer = callers[Role.VIEWER]
    run(lively, "UPDATE jobs SET lease_expires_at = now() + interval '1 hour' WHERE state = 'running'")
    known = {invariant.name for invariant in INVARIANTS}
    assert violations(viewer) == dict.fromkeys(known, 0.0)
    ready = viewer.get("/v1/health/ready")
    assert (ready.status_code, ready.json["status"]) == (200, "ready")
    assert ready.json["checks"] == dict.fromkeys(known, "ok")
    said = viewer.get("/v1/health/invariants").json
    assert (said["broken"], {check["name"] for check in said["checks"]}) == (False, known)
    assert (said["figures"]["sweepers"], said["figures"]["queue_oldest"]["cpu"]) == (1, None)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_broken_promise_is_named_everywhere_and_to_the_public_only_by_name(
    name: str, lively: Sessions, callers: dict[Role, Caller], app: Flask
) -> None:
    time.sleep(0.5)  # longer than the patience with a sweeper, by Postgres' own clock
    run(lively, BY_HAND[name])
    viewer = callers[Role.VIEWER]
    assert violations(viewer)[name] == 1
    ready = app.test_client().get("/v1/health/ready")
    assert ready.status_code == 200
    assert (ready.json["status"], ready.json["checks"][name]) == ("degraded", "broken")  # type: ignore[index]
    assert "shop" not in ready.text
    said = viewer.get("/v1/health/invariants").json
    (check,) = [check for check in said["checks"] if check["name"] == name]
    assert (said["broken"], check["state"], check["count"], len(check["examples"])) == (True, "broken", 1, 1)
    assert check["promise"]
    assert check["advice"]
    assert check["examples"][0] not in ready.text


def test_a_warning_degrades_nothing(seed: Seeder, sessions: Sessions, callers: dict[Role, Caller]) -> None:
    """Given work and no worker at all, then that is said, and the API is ready all the same."""
    seed.checkpoint()
    callers[Role.CLIENT].submit()
    waits(sessions)
    time.sleep(0.5)
    sweeper_alive(sessions)
    ready = callers[Role.VIEWER].get("/v1/health/ready").json
    assert (ready["status"], ready["checks"]["no_worker"]) == ("ready", "warning")
    assert 'safelight_queue_oldest_seconds{pool="gpu"} 36' in callers[Role.VIEWER].get("/metrics").text


def test_the_details_are_not_for_clients(callers: dict[Role, Caller], app: Flask) -> None:
    assert_problem(callers[Role.CLIENT].get("/v1/health/invariants"), 403, "forbidden")
    assert app.test_client().get("/v1/health/invariants").status_code == 401


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the real examination ran."""
    times: list[float] = []

    def counted(sessions: Sessions, settings: Settings) -> Health:
        times.append(time.monotonic())
        time.sleep(0.1)
        return examine(sessions, settings)

    monkeypatch.setattr("api.monitor.examine", counted)
    return times


def test_however_many_ask_it_is_examined_once(settings: Settings, sessions: Sessions, asked: list[float]) -> None:
    monitor = Monitor(settings, lambda: sessions)
    found: list[Health] = []
    threads = [threading.Thread(target=lambda: found.append(monitor.health())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {id(health) for health in found} == {id(found[0])}
    assert len(asked) == 1


def test_what_is_old_is_asked_again_and_shown_meanwhile(
    settings: Settings, sessions: Sessions, asked: list[float]
) -> None:
    monitor = Monitor(settings, lambda: sessions, seconds=0.05)
    first = monitor.health()
    time.sleep(0.06)
    threading.Thread(target=monitor.health).start()
    eventually(lambda: len(asked) == 2)
    assert monitor.health() is first
    eventually(lambda: monitor.health() is not first)


def test_without_postgres_nothing_old_is_shown(settings: Settings, sessions: Sessions, api: Services) -> None:
    away = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:9/x"})
    gone = Services(away)
    now = [sessions]
    monitor = Monitor(settings, lambda: now[0], seconds=0.05)
    assert monitor.health()
    now[0] = gone.sessions
    time.sleep(0.06)
    for _ in range(2):
        with pytest.raises(SQLAlchemyError):
            monitor.health()
    now[0] = sessions
    time.sleep(0.06)
    assert monitor.health()
    gone.close()
