"""T2 and T3: batches of compatible jobs, SKIP LOCKED, affinity with a limit, leases that only their owner extends."""

import threading
from dataclasses import replace

from sqlalchemy import update

from models.base import seconds
from models.jobs import Attempt, Hold, Job, cancel, claim, extend
from models.session import Sessions
from models.states import JobState, Pool
from tests.seeding import Seeder


def test_a_batch_takes_mates_of_other_clients_with_the_same_shape_only(seed: Seeder) -> None:
    one, two, checkpoint = seed.client(), seed.client(), seed.checkpoint()
    first = seed.job(one, checkpoint)
    other_size = seed.job(one, checkpoint, params={"prompt": "a", "width": 32})
    mate = seed.job(two, checkpoint, params={"prompt": "b", "negative_prompt": "c", "seed": 5})
    batch = seed.claim()
    assert {claimed.job_id for claimed in batch} == {first, mate}
    assert [claimed.job_id for claimed in seed.claim()] == [other_size]


def test_a_batch_holds_at_most_max_images(seed: Seeder) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    for _ in range(5):
        seed.job(client, checkpoint, params={"prompt": "a", "num_images": 3})
    assert [len(seed.claim(max_images=8)), len(seed.claim(max_images=2))] == [2, 1]


def test_reproducible_and_isolated_jobs_run_alone(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    exact = seed.job(client, checkpoint, reproducible=True)
    seed.job(client, checkpoint)
    isolated = seed.job(client, checkpoint)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == isolated).values(isolate=True))
    batches = [[claimed.job_id for claimed in seed.claim()] for _ in range(3)]
    assert batches[0] == [exact]
    assert [isolated] in batches
    assert all(len(batch) == 1 for batch in batches)


def test_a_busy_worker_neither_takes_a_suspect_nor_passes_it_over(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    suspect, mate = seed.job(client, checkpoint), seed.job(client, checkpoint)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == suspect).values(isolate=True))
    assert seed.claim(suspects=False) == []
    (first,) = seed.claim()
    assert (first.job_id, first.isolate) == (suspect, True)
    (second,) = seed.claim(suspects=False)
    assert (second.job_id, second.isolate) == (mate, False)


def test_an_attempt_is_appended_and_the_token_grows(seed: Seeder, sessions: Sessions) -> None:
    job = seed.job(seed.client(), seed.checkpoint())
    (claimed,) = seed.claim(owner="w9")
    assert claimed.hold == Hold(job, 1, "w9")
    with sessions() as session:
        attempt = session.get_one(Attempt, (job, 1))
        assert (attempt.worker, attempt.batch_jobs) == ("w9", 1)
    assert seed.read(job).state is JobState.RUNNING


def test_many_claimers_never_take_the_same_job(seed: Seeder) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    jobs = {seed.job(client, checkpoint) for _ in range(60)}
    taken: list[list[object]] = [[] for _ in range(6)]

    def work(index: int) -> None:
        while batch := seed.claim(owner=f"w{index}", max_images=4):
            taken[index] += [claimed.job_id for claimed in batch]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flat = [job for mine in taken for job in mine]
    assert len(flat) == len(set(flat)) == len(jobs)


def test_a_locked_row_is_skipped_not_waited_for(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    seed.job(client, checkpoint)
    second = seed.job(client, checkpoint)
    with sessions() as holder:
        mine = claim(holder, pool=Pool.GPU, owner="w1", max_images=1, lease_seconds=60)
        assert len(mine) == 1
        assert [claimed.job_id for claimed in seed.claim()] == [second]


def test_pools_and_backoff_and_deadlines_are_respected(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    later = seed.job(client, checkpoint)
    overdue = seed.job(client, checkpoint, deadline_seconds=3600)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == later).values(available_at=Job.created_at + seconds(3600)))
        session.execute(update(Job).where(Job.id == overdue).values(deadline_at=Job.created_at - seconds(1)))
    assert seed.claim() == []
    assert seed.claim(pool=Pool.CPU) == []


def test_affinity_passes_over_the_head_but_only_for_so_long(seed: Seeder, sessions: Sessions) -> None:
    client = seed.client()
    cold, loaded = seed.checkpoint("cold"), seed.checkpoint("loaded")
    head = seed.job(client, cold)
    warm = [seed.job(client, loaded) for _ in range(2)]
    prefer = {"resident": [loaded.id], "affinity_seconds": 5.0, "max_images": 1}
    assert [claimed.job_id for claimed in seed.claim(**prefer)] == [warm[0]]
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == head).values(available_at=Job.available_at - seconds(6)))
    assert [claimed.job_id for claimed in seed.claim(**prefer)] == [head]


def test_affinity_never_crosses_a_priority(seed: Seeder) -> None:
    client = seed.client()
    urgent = seed.job(client, seed.checkpoint("cold"), priority=5)
    loaded = seed.checkpoint("loaded")
    seed.job(client, loaded)
    assert [c.job_id for c in seed.claim(resident=[loaded.id], affinity_seconds=5.0)] == [urgent]


def test_a_heartbeat_extends_only_what_is_still_held(seed: Seeder, sessions: Sessions) -> None:
    client, checkpoint = seed.client(), seed.checkpoint()
    for _ in range(4):
        seed.job(client, checkpoint)
    mine, stolen, fenced, asked = seed.claim()
    foreign = replace(stolen.hold, owner="somebody-else")
    old = replace(fenced.hold, attempt=fenced.hold.attempt - 1)
    with sessions.begin() as session:
        cancel(session, asked.job_id)
    before = seed.read(mine.job_id).lease_expires_at
    with sessions.begin() as session:
        beat = extend(session, [mine.hold, foreign, old, asked.hold], 600)
    assert beat.kept == {mine.job_id, asked.job_id}
    assert beat.cancel == {asked.job_id}
    after = seed.read(mine.job_id).lease_expires_at
    assert before is not None
    assert after is not None
    assert after > before


def test_work_in_one_pool_is_no_debt_in_the_other(seed: Seeder) -> None:
    """Given a client that has used the GPUs for long, when it meets another in the CPU pool, then they take turns."""
    on_gpu = seed.checkpoint("on-gpu")
    on_cpu = seed.checkpoint("on-cpu", pool=Pool.CPU)
    both, other = seed.client(), seed.client()
    for _ in range(10):
        seed.job(both, on_gpu, params={"prompt": "a cat", "num_inference_steps": 100})
    jobs = [seed.job(client, on_cpu, reproducible=True) for client in (other, both, other, both)]
    taken = [seed.claim(pool=Pool.CPU)[0].job_id for _ in jobs]
    assert taken == [jobs[0], jobs[1], jobs[2], jobs[3]]
