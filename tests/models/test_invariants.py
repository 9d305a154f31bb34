"""The invariant monitor: a healthy system has nothing to say, and each promise that is broken by hand is named."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from models.daemons import DaemonKind
from models.errors import InvalidInputError
from models.invariants import INVARIANTS, Severity, examine
from models.invariants.table import Patience
from models.jobs import CheckpointCard, cancel, expire_overdue, fail, reap_lost, release_drained, submit_chain
from models.session import Sessions
from models.settings import Settings
from models.states import Pool
from tests.models.living import TIGHT, names, run, succeeded, sweeper_alive, worker_alive
from tests.seeding import Seeder


@pytest.fixture
def tight(settings: Settings) -> Settings:
    return settings.model_copy(update=TIGHT)


@pytest.fixture
def client(seed: Seeder) -> UUID:
    return seed.client("shop")


@pytest.fixture
def card(seed: Seeder) -> CheckpointCard:
    return seed.checkpoint()


@pytest.fixture
def lively(seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard) -> Sessions:
    """One job of every fate, by the product's own verbs, and everybody alive."""
    sweeper_alive(sessions)
    for pool in Pool:
        worker_alive(sessions, pool, "running")
    succeeded(seed, sessions, client, card)
    seed.job(client, card)
    (failing,) = seed.claim(max_images=1)
    with sessions.begin() as session:
        fail(session, failing.hold, InvalidInputError("never"), seed.settings, {})
    seed.job(client, card)
    (drained,) = seed.claim(max_images=1)
    with sessions.begin() as session:
        release_drained(session, drained.hold)
        cancel(session, drained.job_id)
    seed.job(client, card, deadline_seconds=1000)
    run(sessions, "UPDATE jobs SET deadline_at = now() - interval '1 second' WHERE state = 'queued'")
    with sessions.begin() as session:
        assert expire_overdue(session) == 1
    seed.job(client, card)
    seed.claim(lease_seconds=0)
    with sessions.begin() as session:
        assert reap_lost(session, max_crashes=9).requeued == 1
    seed.claim()
    seed.job(client, card)
    return sessions


def test_every_fate_of_a_job_leaves_a_healthy_system(lively: Sessions, settings: Settings) -> None:
    health = examine(lively, settings)
    assert names(health) == set()
    assert not health.broken
    with lively() as session:
        states = {row.state for row in session.execute(text("SELECT state FROM jobs"))}
    assert states == {"succeeded", "failed", "canceled", "expired", "running", "queued"}


BY_HAND: dict[str, str] = {
    "client_counters": "UPDATE clients SET live_jobs = live_jobs + 1 WHERE name = 'shop'",
    "attempts": "DELETE FROM attempts WHERE outcome = 'running'",
    "artifacts": "DELETE FROM artifacts WHERE index = 1",
    "terminal_events": "DELETE FROM job_events WHERE kind = 'job.failed'",
    "no_sweeper": "UPDATE daemons SET seen_at = now() - interval '1 hour'",
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_promise_that_is_broken_by_hand_is_named(name: str, lively: Sessions, tight: Settings) -> None:
    run(lively, BY_HAND[name])
    time.sleep(Patience.of(tight).daemon)
    if name != "no_sweeper":
        sweeper_alive(lively)
    found = examine(lively, tight).violation(name)
    assert found is not None
    assert (found.count, len(found.examples)) == (1, 1)
    assert found.invariant.severity is Severity.BROKEN


OTHER_WAYS: dict[str, tuple[str, str]] = {
    "a counter too low": ("client_counters", "UPDATE clients SET live_jobs = 0"),
    "a second running attempt": (
        "attempts",
        """INSERT INTO attempts (job_id, number, worker, batch_jobs)
        SELECT id, attempt + 1, 'w', 1 FROM jobs WHERE state = 'running'""",
    ),
    "an attempt that still runs after its job": (
        "attempts",
        "UPDATE attempts SET outcome = 'running', finished_at = NULL WHERE outcome = 'failed'",
    ),
    "a second success": ("attempts", "UPDATE attempts SET outcome = 'succeeded' WHERE outcome = 'failed'"),
    "pictures of another attempt": ("artifacts", "UPDATE artifacts SET attempt = 9"),
    "two ends": (
        "terminal_events",
        """INSERT INTO job_events (job_id, kind, data)
        SELECT id, 'job.succeeded', '{}' FROM jobs WHERE state = 'succeeded'""",
    ),
    "an end of another kind": (
        "terminal_events",
        "UPDATE job_events SET kind = 'job.canceled' WHERE kind = 'job.failed'",
    ),
    "an end of a live job": (
        "terminal_events",
        "INSERT INTO job_events (job_id, kind, data) SELECT id, 'job.failed', '{}' FROM jobs WHERE state = 'running'",
    ),
}


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_other_ways_to_break_them(way: str, lively: Sessions, settings: Settings) -> None:
    name, statement = OTHER_WAYS[way]
    run(lively, statement)
    assert names(examine(lively, settings)) == {name}


def test_a_running_job_past_its_lease_is_named_once_a_sweeper_had_its_time(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, tight: Settings
) -> None:
    """Given a sweeper that began a moment ago, then it has its grace; given one that should have, it is named."""
    seed.job(client, card)
    (job,) = seed.claim(lease_seconds=0)
    time.sleep(Patience.of(tight).reap)
    sweeper_alive(sessions, working_seconds=0)
    assert names(examine(sessions, tight)) == set()
    sweeper_alive(sessions)
    found = examine(sessions, tight).violation("running_past_lease")
    assert found is not None
    assert found.examples == (str(job.job_id),)
    assert found.seconds is not None
    assert found.seconds >= Patience.of(tight).reap
    with sessions.begin() as session:
        reap_lost(session, max_crashes=3)
    assert examine(sessions, tight).violation("running_past_lease") is None


def test_a_deadline_that_nobody_heeds_is_named(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, tight: Settings
) -> None:
    job = seed.job(client, card, deadline_seconds=60)
    run(sessions, "UPDATE jobs SET deadline_at = now() - interval '1 hour'")
    sweeper_alive(sessions, working_seconds=0)
    assert examine(sessions, tight).violation("past_deadline") is None
    time.sleep(Patience.of(tight).reap)
    sweeper_alive(sessions)
    found = examine(sessions, tight).violation("past_deadline")
    assert found is not None
    assert found.examples == (str(job),)


def test_a_server_that_is_nearly_full_is_a_warning(sessions: Sessions, settings: Settings) -> None:
    url = settings.database_url.replace("+psycopg", "")
    sweeper_alive(sessions)
    assert names(examine(sessions, settings)) == set()
    crowd = [psycopg.connect(url) for _ in range(80)]
    try:
        health = examine(sessions, settings)
    finally:
        for connection in crowd:
            connection.close()
    assert (names(health), health.broken) == ({"connections"}, False)
    assert health.violations[0].examples[0].endswith(" of 97")


def test_figures_say_who_sweeps(sessions: Sessions, settings: Settings) -> None:
    assert examine(sessions, settings).figures.sweep_age is None
    sweeper_alive(sessions)
    sweeper_alive(sessions, kind=DaemonKind.DISPATCHER)
    figures = examine(sessions, settings).figures
    assert figures.sweep_age is not None
    assert 0 <= figures.sweep_age < 60
    assert (figures.sweepers, figures.dispatchers, figures.webhooks_due) == (1, 1, 0)


def test_counters_of_many_clients_take_turns(
    seed: Seeder, sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given more live jobs than one examination counts, then a wrong counter is found within a few of them."""
    monkeypatch.setattr("models.invariants.examination.COUNTED_JOBS", 20)
    sweeper_alive(sessions)
    for number in range(4):
        seed.client(f"client-{number}")
    run(sessions, "UPDATE clients SET live_jobs = 3 WHERE name = 'client-2'")
    found = [examine(sessions, settings).violation("client_counters") for _ in range(40)]
    assert {violation.examples[0] for violation in found if violation} == {"client-2: says 3, has 0"}
    assert None in found


def test_an_examination_sees_one_moment(
    seed: Seeder, sessions: Sessions, client: UUID, card: CheckpointCard, settings: Settings
) -> None:
    """Given transitions while it asks, then no counter ever seems wrong."""
    sweeper_alive(sessions)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            succeeded(seed, sessions, client, card)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        assert [names(examine(sessions, settings)) for _ in range(30)] == [set()] * 30
    finally:
        stop.set()
        thread.join()


def test_it_is_printed_for_machines(lively: Sessions, environment: dict[str, str]) -> None:
    def printed() -> tuple[int, dict[str, Any]]:
        argv = [sys.executable, "-m", "models.invariants"]
        done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    status, said = printed()
    assert (status, [check["count"] for check in said["checks"]]) == (0, [0] * len(INVARIANTS))
    assert {check["name"] for check in said["checks"]} == {invariant.name for invariant in INVARIANTS}
    run(lively, BY_HAND["attempts"])
    status, said = printed()
    assert status == 1
    (broken,) = [check for check in said["checks"] if check["count"]]
    assert (broken["name"], broken["severity"], len(broken["examples"])) == ("attempts", "broken", 1)


def test_every_check_is_broken_by_a_test() -> None:
    """So that a new one cannot be forgotten."""
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_invariants*.py"))
    assert [invariant.name for invariant in INVARIANTS if f'"{invariant.name}"' not in code] == []


def test_a_job_that_waits_for_nothing_is_found(
    seed: Seeder, sessions: Sessions, settings: Settings, client: UUID, card: CheckpointCard
) -> None:
    """Given a chain whose first job ended without anybody telling the second."""
    walker = seed.checkpoint("walker", tasks=("interpolate",))
    needed = [seed.job(client, card) for _ in range(2)]
    params = {"images": [{"job": str(job)} for job in needed]}
    waiting = submit_chain(sessions, [seed.submission(client, walker, task="interpolate", params=params)])[0].job_id
    sweeper_alive(sessions)
    assert examine(sessions, settings).violation("waiting_for_nothing") is None
    run(sessions, "DELETE FROM job_needs")
    found = examine(sessions, settings).violation("waiting_for_nothing")
    assert found is not None
    assert found.examples == (str(waiting),)
