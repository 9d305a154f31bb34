"""T4 to T7: each ending stands behind the guard, happens once, and gives the quota back once."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.artifacts import Artifact
from models.base import seconds
from models.clients import Client
from models.errors import InvalidInputError, OutOfMemoryError, PipelineFailedError, RunError, TransientError
from models.events import since
from models.jobs import (
    Attempt,
    ClaimedJob,
    Failure,
    Hold,
    Job,
    Output,
    Published,
    cancel,
    delete_expired_results,
    expire_overdue,
    fail,
    forget_idempotency_keys,
    publish,
    reap_lost,
    release_canceled,
    release_drained,
    say_made,
)
from models.jobs.fail import Budgets, decide
from models.session import Sessions
from models.settings import Settings
from models.states import FINAL_STATES, AttemptOutcome, JobState
from tests.seeding import Seeder

counter = itertools.count()


def output() -> Output:
    return Output(0, f"results/{next(counter)}", "ab" * 32, "image/png", 10, 64, 64, 7)


@pytest.fixture
def claimed(seed: Seeder) -> ClaimedJob:
    seed.job(seed.client("one"), seed.checkpoint())
    return seed.claim()[0]


def live_jobs(session: Session, name: str = "one") -> int:
    return session.scalar(select(Client.live_jobs).where(Client.name == name)) or 0


def expire_lease(sessions: Sessions, job_id: UUID) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=func.now() - seconds(1)))


def test_publish_makes_the_result_visible_once(seed: Seeder, sessions: Sessions, claimed: ClaimedJob) -> None:
    with sessions.begin() as session:
        assert publish(session, claimed.hold, [output()], {"run_seconds": 1}) is Published.DONE
    with sessions.begin() as session:
        assert publish(session, claimed.hold, [output()], {}) is Published.ALREADY
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Artifact)) == 1
        kinds = [event.kind for event in since(session, claimed.job_id, 0)]
        assert kinds == ["job.queued", "job.running", "job.succeeded"]
        assert live_jobs(session) == 0
    assert seed.read(claimed.job_id).results_expire_at is not None


def _publish(session: Session, hold: Hold) -> bool:
    return publish(session, hold, [output()], {}) is not Published.FENCED


def _fail(session: Session, hold: Hold) -> bool:
    return fail(session, hold, InvalidInputError("no"), Settings(), {}) is not Failure.FENCED


ENDINGS: list[Callable[[Session, Hold], bool]] = [_publish, _fail, release_drained, release_canceled]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("wrong", [{"attempt": 0}, {"attempt": 2}, {"owner": "zombie"}])
def test_no_ending_passes_the_guard_with_a_wrong_hold(
    seed: Seeder,
    sessions: Sessions,
    claimed: ClaimedJob,
    ending: Callable[[Session, Hold], bool],
    wrong: dict[str, object],
) -> None:
    with sessions.begin() as session:
        cancel(session, claimed.job_id)
        assert not ending(session, replace(claimed.hold, **wrong))  # type: ignore[arg-type]
    assert seed.read(claimed.job_id).state is JobState.RUNNING


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_zombie_cannot_end_what_another_worker_holds(
    seed: Seeder, sessions: Sessions, claimed: ClaimedJob, ending: Callable[[Session, Hold], bool]
) -> None:
    expire_lease(sessions, claimed.job_id)
    with sessions.begin() as session:
        assert reap_lost(session, max_crashes=3).requeued == 1
    (second,) = seed.claim(owner="w2")
    with sessions.begin() as session:
        assert not ending(session, claimed.hold)
    with sessions.begin() as session:
        assert publish(session, second.hold, [output()], {}) is Published.DONE
    with sessions.begin() as session:
        assert not ending(session, claimed.hold)
    with sessions() as session:
        assert live_jobs(session) == 0
        outcomes = session.scalars(select(Attempt.outcome).order_by(Attempt.number)).all()
    assert outcomes == [AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED]


@pytest.mark.parametrize(
    ("error", "final", "isolate"),
    [
        (InvalidInputError("bad"), True, False),
        (PipelineFailedError("bug"), False, True),
        (TransientError("s3"), False, False),
    ],
)
def test_the_class_of_an_error_decides(
    seed: Seeder, sessions: Sessions, claimed: ClaimedJob, error: RunError, final: bool, isolate: bool
) -> None:
    with sessions.begin() as session:
        outcome = fail(session, claimed.hold, error, Settings(retry_base_seconds=0), {})
    assert outcome is (Failure.FAILED if final else Failure.RETRIED)
    job = seed.read(claimed.job_id)
    assert job.state is (JobState.FAILED if final else JobState.QUEUED)
    assert job.isolate is isolate
    assert (job.error_code == error.code) is final


def test_application_errors_are_capped_and_infrastructure_is_not_counted(seed: Seeder, sessions: Sessions) -> None:
    settings = Settings(retry_base_seconds=0, max_errors=3)
    job = seed.job(seed.client(), seed.checkpoint())
    errors: list[RunError] = [
        TransientError("s3"),
        PipelineFailedError("a"),
        TransientError("s3"),
        PipelineFailedError("b"),
    ]
    for error in errors:
        (claimed,) = seed.claim()
        with sessions.begin() as session:
            assert fail(session, claimed.hold, error, settings, {}) is Failure.RETRIED
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        assert fail(session, claimed.hold, PipelineFailedError("c"), settings, {}) is Failure.FAILED
    found = seed.read(job)
    assert (found.error_code, found.error_detail, found.attempt) == ("pipeline_error", "c", 5)


def test_out_of_memory_is_final_only_alone_and_outages_only_after_their_budget() -> None:
    now = datetime.now(UTC)
    company = Budgets(0, None, now, alone=False)
    assert not decide(OutOfMemoryError("x"), company, Settings()).final
    assert decide(OutOfMemoryError("x"), company, Settings()).isolate
    assert decide(OutOfMemoryError("x"), replace(company, alone=True), Settings()).final
    old = replace(company, infrastructure_since=now - timedelta(hours=2))
    assert decide(TransientError("x"), old, Settings(infrastructure_budget_seconds=3600)).final
    assert not decide(TransientError("x"), old, Settings(infrastructure_budget_seconds=9000)).final


def test_a_lost_lease_counts_as_a_crash_only_when_the_job_ran_alone(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    jobs = [seed.job(client, checkpoint) for _ in range(2)]
    seed.claim()
    for job in jobs:
        expire_lease(sessions, job)
    with sessions.begin() as session:
        assert reap_lost(session, max_crashes=1).requeued == 2
    assert [seed.read(job).crash_count for job in jobs] == [0, 0]
    (alone,) = seed.claim()
    expire_lease(sessions, alone.job_id)
    with sessions.begin() as session:
        assert reap_lost(session, max_crashes=1).failed == 1
    assert seed.read(alone.job_id).error_code == "worker_lost"


def test_a_lost_lease_is_no_crash_of_a_job_whose_worker_held_another(seed: Seeder, sessions: Sessions) -> None:
    """Given two jobs that one worker took one after the other, when it is lost, then neither is blamed alone."""
    client, checkpoint = seed.client(), seed.checkpoint()
    stored, running, elsewhere = [
        seed.job(client, checkpoint, params={"prompt": "a cat", "width": width}) for width in (32, 48, 64)
    ]
    for owner in ("w1", "w1", "w2"):
        assert len(seed.claim(owner=owner)) == 1
    for job in (stored, running, elsewhere):
        expire_lease(sessions, job)
    with sessions.begin() as session:
        reap_lost(session, max_crashes=3)
    assert [seed.read(job).crash_count for job in (stored, running, elsewhere)] == [0, 0, 1]
    assert [seed.read(job).isolate for job in (stored, running, elsewhere)] == [True] * 3


def test_a_lost_lease_is_no_crash_of_a_job_that_only_waited_to_be_stored(seed: Seeder, sessions: Sessions) -> None:
    """Given an attempt of which its courier said so, when it is lost, then it does not count; the next one does."""
    job = seed.job(seed.client(), seed.checkpoint())
    for attempt, crashes in ((1, 0), (2, 1)):
        (claimed,) = seed.claim()
        with sessions.begin() as session:
            assert not say_made(session, replace(claimed.hold, owner="another"))
            assert not say_made(session, replace(claimed.hold, attempt=attempt + 1))
            assert attempt == 2 or say_made(session, claimed.hold)
        expire_lease(sessions, job)
        with sessions.begin() as session:
            assert reap_lost(session, max_crashes=3).requeued == 1
            assert not say_made(session, claimed.hold), "it has ended"
        assert seed.read(job).crash_count == crashes


def test_a_fresh_lease_is_not_reaped(seed: Seeder, sessions: Sessions, claimed: ClaimedJob) -> None:
    with sessions.begin() as session:
        reaped = reap_lost(session, max_crashes=1)
    assert (reaped.requeued, reaped.failed, reaped.canceled) == (0, 0, 0)
    assert seed.read(claimed.job_id).state is JobState.RUNNING


def test_a_lost_job_that_was_to_be_canceled_is_canceled(seed: Seeder, sessions: Sessions, claimed: ClaimedJob) -> None:
    with sessions.begin() as session:
        cancel(session, claimed.job_id)
    expire_lease(sessions, claimed.job_id)
    with sessions.begin() as session:
        assert reap_lost(session, max_crashes=3).canceled == 1
        assert live_jobs(session) == 0
    assert seed.read(claimed.job_id).state is JobState.CANCELED


def test_canceling_twice_is_harmless_and_a_final_job_stays(seed: Seeder, sessions: Sessions) -> None:
    job = seed.job(seed.client("one"), seed.checkpoint())
    with sessions.begin() as session:
        assert cancel(session, job)
    with sessions.begin() as session:
        assert not cancel(session, job)
        assert live_jobs(session) == 0
    assert seed.read(job).state in FINAL_STATES
    assert seed.claim() == []


def test_release_canceled_needs_the_request(seed: Seeder, sessions: Sessions, claimed: ClaimedJob) -> None:
    with sessions.begin() as session:
        assert not release_canceled(session, claimed.hold)
    assert seed.read(claimed.job_id).state is JobState.RUNNING


def test_a_drained_job_is_free_at_once_and_costs_no_budget(
    seed: Seeder, sessions: Sessions, claimed: ClaimedJob
) -> None:
    with sessions.begin() as session:
        assert release_drained(session, claimed.hold)
    (again,) = seed.claim()
    assert (again.hold.attempt, again.crash_count, again.error_count) == (2, 0, 0)


def test_an_overdue_job_expires_and_a_running_one_does_not(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client("one"), seed.checkpoint()
    started = seed.job(client, checkpoint, deadline_seconds=3600)
    seed.claim()
    waiting = seed.job(client, checkpoint, deadline_seconds=3600)
    with sessions.begin() as session:
        session.execute(update(Job).values(deadline_at=func.now() - seconds(1)))
    with sessions.begin() as session:
        assert expire_overdue(session) == 1
        assert live_jobs(session) == 1
    assert seed.read(waiting).state is JobState.EXPIRED
    assert seed.read(started).state is JobState.RUNNING


def test_results_are_forgotten_after_their_retention(seed: Seeder, sessions: Sessions, claimed: ClaimedJob) -> None:
    made = output()
    with sessions.begin() as session:
        publish(session, claimed.hold, [made], {})
    with sessions.begin() as session:
        assert delete_expired_results(session) == []
        session.execute(update(Job).values(results_expire_at=func.now() - seconds(1)))
    with sessions.begin() as session:
        assert delete_expired_results(session) == [made.key]
    with sessions.begin() as session:
        assert delete_expired_results(session) == []
    job = seed.read(claimed.job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.results_deleted_at is not None


def test_old_idempotency_keys_may_be_used_again(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    first = seed.job(client, checkpoint, idempotency_key="k", request_sha256=b"one")
    with sessions.begin() as session:
        assert forget_idempotency_keys(session, hours=24) == 0
        session.execute(update(Job).values(created_at=func.now() - seconds(25 * 3600)))
    with sessions.begin() as session:
        assert forget_idempotency_keys(session, hours=24) == 1
    assert seed.job(client, checkpoint, idempotency_key="k", request_sha256=b"two") != first
