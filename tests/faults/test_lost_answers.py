"""A COMMIT that is done and never answered, or that never arrived: whoever sent it cannot tell, and must not care."""

from collections.abc import Callable

import httpx
import pytest

from models.jobs import CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState
from models.storage import Storage
from tests.faults.conftest import to_postgres
from tests.faults.ledger import assert_ended_once, read
from tests.faults.proxy import Proxy, Trap
from tests.faults.test_spine import start_api
from tests.faults.trace import Trace
from tests.seeding import Seeder
from tests.worker.conftest import Crew

SHORT = {"SAFELIGHT_LEASE_SECONDS": "3", "SAFELIGHT_SWEEP_SECONDS": "0.3", "SAFELIGHT_RETRY_BASE_SECONDS": "0"}
LOST, RETRIED, SUCCEEDED = AttemptOutcome.LOST, AttemptOutcome.RETRIED, AttemptOutcome.SUCCEEDED
Lose = Callable[..., Trap]

pytestmark = pytest.mark.slow
both_ways = pytest.mark.parametrize("lose", [Proxy.lose_answer, Proxy.lose_request], ids=["answer", "request"])
"""Lost on the way back, it was done; lost on the way there, it was not."""


@both_ways
def test_of_a_publish(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    trace: Trace,
    lose: Lose,
) -> None:
    """Then the courier asks again, finds what it did or does it now, and the device runs nothing twice."""
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line), **trace.environment)
    lost = lose(postgres_line, b"COMMIT", after=b"INSERT INTO artifacts")
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(job) == [JobState.SUCCEEDED]
    lost.wait()
    after = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    assert crew.finish(after) == [JobState.SUCCEEDED], "the worker goes on"
    assert_ended_once(sessions, storage, job, SUCCEEDED)
    assert len(trace.runs(job)) == 1


@both_ways
def test_of_a_submit(
    crew: Crew, seed: Seeder, sessions: Sessions, slow_checkpoint: CheckpointCard, postgres_line: Proxy, lose: Lose
) -> None:
    """Given a client that sends the same Idempotency-Key again, then it has one job, and pays for one."""
    key = seed.key(seed.client("one"))
    _, url = start_api(crew, **to_postgres(crew.settings, postgres_line))
    lost = lose(postgres_line, b"COMMIT", after=b"INSERT INTO jobs")

    def post() -> httpx.Response:
        return httpx.post(
            f"{url}/v1/jobs",
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "once"},
            json={"task": "text_to_image", "checkpoint": slow_checkpoint.name, "params": {"prompt": "a cat"}},
            timeout=30,
        )

    first = post()
    assert lost.sprung.is_set()
    assert (first.status_code, first.json()["code"]) == (503, "database_unavailable")
    assert int(first.headers["Retry-After"]) > 0
    second, third = post(), post()
    assert second.is_success, second.text
    assert third.is_success, third.text
    assert second.json()["id"] == third.json()["id"]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        (only,) = client.get("/v1/jobs").raise_for_status().json()["items"]
    found = read(sessions, only["id"])
    assert (found.events, found.live_jobs) == (["job.queued"], 1)


@both_ways
def test_of_a_claim(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    trace: Trace,
    lose: Lose,
) -> None:
    """Then nobody knows that he holds the job: its lease runs out, and it is claimed again."""
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line), **trace.environment)
    crew.sweeper(**SHORT)
    lost = lose(postgres_line, b"COMMIT", after=b"INSERT INTO attempts")
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()
    lost.wait()
    assert crew.finish(job) == [JobState.SUCCEEDED]
    outcomes = [LOST, SUCCEEDED] if lose is Proxy.lose_answer else [SUCCEEDED]
    assert_ended_once(sessions, storage, job, *outcomes)
    assert len(trace.runs(job)) == 1


@both_ways
def test_of_a_fail(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    trace: Trace,
    lose: Lose,
) -> None:
    """Then the error counts once: the job gets as many tries as any other, and ends with one event."""
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line), **trace.environment)
    crew.sweeper(**SHORT)
    lost = lose(postgres_line, b"COMMIT", after=b"jobs.infrastructure_since, jobs.cancel_requested")
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "raise"})
    crew.ticket()
    assert crew.finish(job) == [JobState.FAILED]
    lost.wait()
    found = read(sessions, job)
    assert found.outcomes == [RETRIED, RETRIED, AttemptOutcome.FAILED]
    assert (found.job.error_code, found.job.error_count, found.job.crash_count) == ("pipeline_error", 3, 0)
    assert len(trace.runs(job)) == 3
    assert found.events.count("job.failed") == 1
    assert found.live_jobs == 0


@both_ways
def test_of_a_heartbeat(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
    postgres_line: Proxy,
    lose: Lose,
) -> None:
    """Given a job that runs for longer than a lease, then the next heartbeat comes in time, on a new connection."""
    crew.worker(**SHORT, **to_postgres(crew.settings, postgres_line))
    crew.sweeper(**SHORT)
    lost = lose(postgres_line, b"UPDATE jobs SET lease_expires_at")
    job = seed.job(seed.client(), slow_checkpoint, params={"prompt": "step 0.1", "num_inference_steps": 60})
    crew.ticket()
    lost.wait()
    assert crew.finish(job) == [JobState.SUCCEEDED]
    assert_ended_once(sessions, storage, job, SUCCEEDED)
