"""T1: what one statement promises: job, event, quota, fair tags and idempotency together, or nothing."""

import threading

import pytest

from models.clients import Client
from models.errors import IdempotencyMismatchError, QuotaExceededError
from models.events import since
from models.jobs import submit
from models.session import Sessions
from models.states import JobState, Lane
from tests.seeding import Seeder


def test_a_submitted_job_is_queued_with_its_params_resolved_and_one_event(seed: Seeder, sessions: Sessions) -> None:
    job = seed.read(seed.job(seed.client(), seed.checkpoint(), params={"prompt": "猫"}, tag="night"))
    assert (job.state, job.attempt, job.tag) == (JobState.QUEUED, 0, "night")
    assert job.params["width"] == 64
    assert job.params["prompt"] == "猫"
    assert isinstance(job.params["seed"], int)
    assert job.cost == 4 * 2
    with sessions() as session:
        assert [event.kind for event in since(session, job.id, 0)] == ["job.queued"]


def test_the_same_idempotency_key_gives_the_same_job_and_charges_once(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    wanted = seed.submission(client, checkpoint, idempotency_key="k", request_sha256=b"one")
    first, again = submit(sessions, wanted), submit(sessions, wanted)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.job_id == again.job_id
    with sessions() as session:
        assert session.get_one(Client, client).live_jobs == 1
        assert len(since(session, first.job_id, 0)) == 1


def test_an_idempotency_key_is_bound_to_its_body_and_to_its_client(seed: Seeder, sessions: Sessions) -> None:
    checkpoint = seed.checkpoint()
    client, other = seed.client(), seed.client()
    submit(sessions, seed.submission(client, checkpoint, idempotency_key="k", request_sha256=b"one"))
    with pytest.raises(IdempotencyMismatchError):
        submit(sessions, seed.submission(client, checkpoint, idempotency_key="k", request_sha256=b"two"))
    assert not submit(sessions, seed.submission(other, checkpoint, idempotency_key="k", request_sha256=b"two")).replayed


def test_the_quota_counts_live_jobs_and_is_given_back(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(max_live_jobs=2), seed.checkpoint()
    seed.job(client, checkpoint)
    seed.job(client, checkpoint)
    with pytest.raises(QuotaExceededError) as refused:
        seed.job(client, checkpoint)
    assert refused.value.extra["limit"] == 2
    from models.jobs import cancel

    (claimed, *_) = seed.claim(max_images=1)
    with sessions.begin() as session:
        from models.jobs import release_canceled

        assert cancel(session, claimed.job_id)
        assert release_canceled(session, claimed.hold)
    seed.job(client, checkpoint)


def test_concurrent_submits_never_pass_the_quota(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(max_live_jobs=10), seed.checkpoint()
    refused: list[int] = []

    def work() -> None:
        for _ in range(5):
            try:
                seed.job(client, checkpoint)
            except QuotaExceededError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sessions() as session:
        assert session.get_one(Client, client).live_jobs == 10
    assert len(refused) == 20


def test_ten_thousand_jobs_of_one_client_do_not_starve_anothers_one(seed: Seeder) -> None:
    checkpoint = seed.checkpoint()
    crowd, single = seed.client("crowd"), seed.client("single")
    for _ in range(50):
        seed.job(crowd, checkpoint)
    lone = seed.job(single, checkpoint)
    order = [seed.claim(max_images=1)[0].job_id for _ in range(3)]
    assert lone in order


def test_an_idle_client_saves_up_no_credit(seed: Seeder, sessions: Sessions) -> None:
    from models.jobs.order import advance

    checkpoint = seed.checkpoint()
    busy, late = seed.client("busy"), seed.client("late")
    for _ in range(20):
        seed.job(busy, checkpoint)
    for _ in range(10):
        (claimed,) = seed.claim(max_images=1)
        with sessions.begin() as session:
            advance(session, checkpoint.pool, claimed.start_tag)
    lates = {seed.job(late, checkpoint) for _ in range(10)}
    first_ten = [seed.claim(max_images=1)[0].job_id for _ in range(10)]
    share = sum(job in lates for job in first_ten)
    assert 4 <= share <= 6, "both are backlogged now, so they take turns"


def test_weights_share_the_workers(seed: Seeder) -> None:
    checkpoint = seed.checkpoint()
    light, heavy = seed.client(weight=1.0), seed.client(weight=3.0)
    heavies = set()
    for _ in range(20):
        seed.job(light, checkpoint)
        heavies.add(seed.job(heavy, checkpoint))
    first = [seed.claim(max_images=1)[0].job_id for _ in range(16)]
    assert 11 <= sum(job in heavies for job in first) <= 13


def test_interactive_goes_before_bulk_and_priority_before_age(seed: Seeder) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    bulk = seed.job(client, checkpoint, lane=Lane.BULK, priority=100)
    plain = seed.job(client, checkpoint)
    urgent = seed.job(client, checkpoint, priority=10)
    assert [seed.claim(max_images=1)[0].job_id for _ in range(3)] == [urgent, plain, bulk]
