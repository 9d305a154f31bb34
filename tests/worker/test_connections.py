"""The connection budget: what real processes hold is what `models.connections` says that they may."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.connections import POOLS, PROCESSES, most_of, pool_of
from models.jobs import CheckpointCard
from models.session import Sessions, make_engine
from models.settings import Settings
from tests.api.live import running_server
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until

HELD = "SELECT application_name, pid FROM pg_stat_activity WHERE datname = current_database()"
SHORT = {"SAFELIGHT_LEASE_SECONDS": "2", "SAFELIGHT_SWEEP_SECONDS": "0.2"}


def held(sessions: Sessions) -> dict[str, int]:
    """How many sessions each application holds now, without the word `safelight`."""
    with sessions() as session:
        rows = session.execute(text(HELD)).all()
    ours = [row.application_name for row in rows if row.application_name.startswith("safelight ")]
    return dict(Counter(name.removeprefix("safelight ") for name in ours if name != "safelight test"))


@pytest.mark.slow
def test_a_working_stack_keeps_to_its_budget(
    crew: Crew, seed: Seeder, sessions: Sessions, settings: Settings, slow_checkpoint: CheckpointCard, tmp_path: Path
) -> None:
    """Given API, worker and sweeper hard at work, then no engine is above its bound, and none is without one."""
    key = seed.key(client := seed.client())
    most: Counter[str] = Counter()
    given = settings.model_copy(update={"database_pool_size": 2, "database_pool_overflow": 1})
    crew.worker(**SHORT)
    crew.sweeper(**SHORT)
    with running_server(given, tmp_path / "api.log") as server, ThreadPoolExecutor(16) as threads:
        http = server.client(key)
        jobs = [seed.job(client, slow_checkpoint, params={"prompt": "step 0.05"}) for _ in range(40)]
        crew.ticket()
        asked = [threads.submit(lambda job=job: http.get(f"/v1/jobs/{job}?wait=1").status_code) for job in jobs]

        def watched() -> bool:
            for name, count in held(sessions).items():
                most[name] = max(most[name], count)
            return all(state.value == "succeeded" for state in crew.states(*jobs))

        until(watched, 60, "the end of the jobs")
        assert {future.result() for future in asked} == {200}
    known = {name for names in PROCESSES.values() for name in names}
    assert known >= set(most) >= {"api", "worker", "heartbeat", "courier", "sweeper"}
    assert {name: count for name, count in most.items() if count > pool_of(given, name).most} == {}
    assert most_of(given, "api") == 4
    assert sum(most.values()) <= sum(most_of(given, process) for process in PROCESSES)


def test_an_engine_opens_no_more_than_its_bound(settings: Settings) -> None:
    engine = make_engine(settings, application="heartbeat")
    with engine.connect():
        engine.pool._timeout = 0.1  # type: ignore[attr-defined]
        with pytest.raises(PoolTimeoutError):
            engine.connect()
    engine.dispose()


def test_the_api_takes_its_bound_from_the_settings(settings: Settings) -> None:
    two = settings.model_copy(update={"api_workers": 2})
    assert most_of(two, "api") == 2 * (two.database_pool_size + two.database_pool_overflow + POOLS["api hub"].most)
    assert pool_of(two, "worker") == POOLS["worker"]
