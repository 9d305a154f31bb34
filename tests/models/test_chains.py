"""Jobs that take the outputs of others: when they are queued, with what they fail, and what is never missed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models.clients import Client
from models.errors import ConflictError, InvalidInputError, NotFoundError, QuotaExceededError
from models.events import JobEvent
from models.jobs import (
    CheckpointCard,
    Job,
    Output,
    Submitted,
    cancel,
    cancel_chain,
    delete_final,
    expire_overdue,
    fail,
    needs_of,
    pools_woken,
    publish,
    submit_chain,
)
from models.params import CheckpointProfile
from models.session import Sessions
from models.settings import Settings
from models.states import JobState, Pool
from tests.seeding import Seeder
from tests.worker.conftest import until

PREVIOUS = {"image": {"previous": True}}


@pytest.fixture
def client(seed: Seeder) -> UUID:
    return seed.client()


@pytest.fixture
def drawing(seed: Seeder) -> CheckpointCard:
    return seed.checkpoint("drawing")


@pytest.fixture
def upscaler(seed: Seeder) -> CheckpointCard:
    """In the other pool, so that a test claims which of the two it wants."""
    profile = CheckpointProfile(scales=(4,), reads_prompt=False)
    return seed.checkpoint("upscaler", tasks=("upscale",), family="real_esrgan", pool=Pool.CPU, profile=profile)


@pytest.fixture
def chain(seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard, upscaler: CheckpointCard) -> Any:
    """Submits a drawing and so many enlargements, each of the one before."""

    def make(steps: int = 1, **changes: Any) -> list[Submitted]:
        first = seed.submission(client, drawing, **changes)
        rest = [seed.submission(client, upscaler, task="upscale", params=PREVIOUS, **changes) for _ in range(steps)]
        return submit_chain(sessions, [first, *rest])

    return make


def succeed(seed: Seeder, sessions: Sessions, pool: Pool = Pool.GPU) -> UUID:
    """Claim the head of a pool and publish it with one output."""
    claimed = seed.claim(pool=pool, max_images=1)[0]
    with sessions.begin() as session:
        publish(session, claimed.hold, [output(claimed.job_id)], {})
    return claimed.job_id


def output(job_id: UUID) -> Output:
    return Output(0, f"results/{job_id}/a1/0.png", "ab", "image/png", 1, 8, 8, 7)


def live_jobs(sessions: Sessions, client: UUID) -> int:
    with sessions() as session:
        return session.get_one(Client, client).live_jobs


def kinds(sessions: Sessions, job_id: UUID) -> list[str]:
    with sessions() as session:
        return list(session.scalars(select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.id)))


def test_a_job_waits_and_is_queued_in_the_transaction_that_publishes_what_it_needs(
    seed: Seeder, sessions: Sessions, chain: Any
) -> None:
    first, second = (made.job_id for made in chain())
    waiting = seed.read(second)
    assert (seed.read(first).state, waiting.state) == (JobState.QUEUED, JobState.WAITING)
    assert waiting.params["image"]["job"] == str(first)
    assert (seed.read(first).chain_id, waiting.chain_id) == (first, first)
    assert not seed.claim(pool=Pool.CPU)

    claimed = seed.claim()[0]
    with sessions.begin() as session:
        publish(session, claimed.hold, [output(first)], {})
        assert session.scalar(select(Job.state).where(Job.id == second)) is JobState.QUEUED
        assert pools_woken(session, first) == [Pool.CPU]
    assert [job.job_id for job in seed.claim(pool=Pool.CPU)] == [second]
    assert kinds(sessions, second) == ["job.waiting", "job.queued", "job.running"]


def test_it_waits_for_all_that_it_needs(
    seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard
) -> None:
    walker = seed.checkpoint("walker", tasks=("interpolate",))
    needed = [seed.job(client, drawing) for _ in range(2)]
    params = {"images": [{"job": str(job)} for job in needed]}
    third = submit_chain(sessions, [seed.submission(client, walker, task="interpolate", params=params)])[0].job_id
    succeed(seed, sessions)
    assert seed.read(third).state is JobState.WAITING
    succeed(seed, sessions)
    assert seed.read(third).state is JobState.QUEUED


def test_two_that_are_published_at_once_queue_the_third(
    seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard
) -> None:
    """Neither transaction sees the other's end; only the lock on the third makes the later one look again."""
    walker = seed.checkpoint("walker", tasks=("interpolate",))
    needed = [seed.job(client, drawing) for _ in range(2)]
    params = {"images": [{"job": str(job)} for job in needed]}
    third = submit_chain(sessions, [seed.submission(client, walker, task="interpolate", params=params)])[0].job_id
    one, two = seed.claim(max_images=2)

    def publish_two() -> None:
        with sessions.begin() as session:
            publish(session, two.hold, [output(two.job_id)], {})

    with ThreadPoolExecutor(1) as aside:
        with sessions.begin() as session:
            # The client's row comes last in a publish; without its lock the other could not have ended before us.
            publish(session, one.hold, [output(one.job_id)], {})
            other = aside.submit(publish_two)
            until(lambda: other.done() or _waits_for_a_lock(sessions))
        other.result()
    assert seed.read(third).state is JobState.QUEUED


def test_a_publish_during_the_submit_is_not_missed(
    seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard, upscaler: CheckpointCard
) -> None:
    """Given an upstream that is just being published, a job that names it waits for the commit, and is queued."""
    first = seed.job(client, drawing)
    wanted = seed.submission(client, upscaler, task="upscale", params={"image": {"job": str(first)}})
    claimed = seed.claim()[0]
    with ThreadPoolExecutor(1) as aside:
        with sessions.begin() as session:
            session.execute(text("UPDATE jobs SET cost = cost WHERE id = :id"), {"id": first})
            submitted = aside.submit(submit_chain, sessions, [wanted])
            until(lambda: submitted.done() or _waits_for_a_lock(sessions))
            publish(session, claimed.hold, [output(first)], {})
        made = submitted.result()[0]
    assert (made.state, seed.read(made.job_id).state) == (JobState.QUEUED, JobState.QUEUED)


def test_it_fails_with_what_it_needs(
    seed: Seeder, sessions: Sessions, settings: Settings, client: UUID, chain: Any
) -> None:
    first, second, third = (made.job_id for made in chain(steps=2))
    assert live_jobs(sessions, client) == 3
    claimed = seed.claim()[0]
    with sessions.begin() as session:
        fail(session, claimed.hold, InvalidInputError("no"), settings, {})
    assert [seed.read(job).state for job in (first, second, third)] == [JobState.FAILED] * 3
    assert [seed.read(job).error_code for job in (second, third)] == ["upstream_failed"] * 2
    assert kinds(sessions, third) == ["job.waiting", "job.failed"]
    assert live_jobs(sessions, client) == 0


def test_it_is_canceled_with_what_it_needs_and_not_the_other_way_round(
    seed: Seeder, sessions: Sessions, client: UUID, chain: Any
) -> None:
    first, second, third = (made.job_id for made in chain(steps=2))
    with sessions.begin() as session:
        assert cancel(session, second)
    assert [seed.read(job).state for job in (first, second, third)] == [
        JobState.QUEUED,
        JobState.CANCELED,
        JobState.CANCELED,
    ]
    assert live_jobs(sessions, client) == 1


def test_a_whole_chain_is_canceled(seed: Seeder, sessions: Sessions, client: UUID, chain: Any) -> None:
    made = [entry.job_id for entry in chain(steps=2)]
    with sessions.begin() as session:
        cancel_chain(session, made[0])
    assert {seed.read(job).state for job in made} == {JobState.CANCELED}
    assert live_jobs(sessions, client) == 0


def test_a_waiting_job_expires_at_its_deadline(seed: Seeder, sessions: Sessions, chain: Any) -> None:
    first, second = (made.job_id for made in chain(deadline_seconds=3600))
    seed.claim()
    with sessions.begin() as session:
        session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1 s'"))
        assert expire_overdue(session) == 1
    assert (seed.read(first).state, seed.read(second).state) == (JobState.RUNNING, JobState.EXPIRED)


def test_what_has_ended_without_a_result_or_is_not_there_is_not_waited_for(
    seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard, upscaler: CheckpointCard
) -> None:
    first = seed.job(client, drawing)
    wanted = seed.submission(client, upscaler, task="upscale", params={"image": {"job": str(first)}})
    with sessions.begin() as session:
        cancel(session, first)
    with pytest.raises(ConflictError, match="canceled"):
        submit_chain(sessions, [wanted])
    with sessions.begin() as session:
        delete_final(session, first)
    with pytest.raises(NotFoundError):
        submit_chain(sessions, [wanted])
    assert live_jobs(sessions, client) == 0


def test_what_was_published_before_is_taken_at_once(
    seed: Seeder, sessions: Sessions, client: UUID, drawing: CheckpointCard, upscaler: CheckpointCard
) -> None:
    first = seed.job(client, drawing)
    succeed(seed, sessions)
    wanted = seed.submission(client, upscaler, task="upscale", params={"image": {"job": str(first)}})
    assert needs_of(wanted.params) == {first}
    assert submit_chain(sessions, [wanted])[0].state is JobState.QUEUED


def test_all_of_a_chain_or_nothing(seed: Seeder, sessions: Sessions, drawing: CheckpointCard) -> None:
    """Given room for one job, a chain of two leaves none."""
    client = seed.client(max_live_jobs=1)
    upscaler = seed.checkpoint("up", tasks=("upscale",), profile=CheckpointProfile(scales=(4,)))
    steps = [seed.submission(client, drawing), seed.submission(client, upscaler, task="upscale", params=PREVIOUS)]
    with pytest.raises(QuotaExceededError):
        submit_chain(sessions, steps)
    with sessions() as session:
        assert session.scalars(select(Job.id).where(Job.client_id == client)).all() == []
    assert live_jobs(sessions, client) == 0


def test_a_chain_that_is_sent_again_is_the_same(seed: Seeder, sessions: Sessions, chain: Any) -> None:
    one = seed.client()
    drawing = seed.checkpoint("once")
    upscaler = seed.checkpoint("up", tasks=("upscale",), profile=CheckpointProfile(scales=(4,)))
    given = {"idempotency_key": "k", "request_sha256": b"x"}
    steps = [
        seed.submission(one, drawing),
        seed.submission(one, upscaler, task="upscale", params=PREVIOUS, **given),
    ]
    made = submit_chain(sessions, steps)
    again = submit_chain(sessions, steps)
    assert [entry.job_id for entry in again] == [made[-1].job_id]
    assert again[0].replayed
    assert live_jobs(sessions, one) == 2


def test_an_output_that_is_still_needed_is_not_deleted(seed: Seeder, sessions: Sessions, chain: Any) -> None:
    first, second = (made.job_id for made in chain())
    succeed(seed, sessions)
    with sessions.begin() as session, pytest.raises(ConflictError, match=str(second)):
        delete_final(session, first)
    succeed(seed, sessions, Pool.CPU)
    with sessions.begin() as session:
        assert delete_final(session, first) == [f"results/{first}/a1/0.png"]
    assert seed.read(second).state is JobState.SUCCEEDED


def _waits_for_a_lock(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
