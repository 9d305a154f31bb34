"""Whole workers as processes: tickets, batches, crashes, outages and drains."""

from models.jobs import CheckpointCard
from models.states import JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew


def test_a_job_runs_to_its_result(crew: Crew, seed: Seeder, slow_checkpoint: CheckpointCard, storage: Storage) -> None:
    crew.worker()
    job = seed.job(seed.client(), slow_checkpoint)
    crew.ticket()

    assert crew.finish(job) == [JobState.SUCCEEDED]
