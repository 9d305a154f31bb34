"""A job that runs again is compared with what it made before, by the pixels and not by the file."""

import io
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update

from models.artifacts import Artifact
from models.bootstrap import STARTERS
from models.checkpoints.card import read_folder
from models.jobs import CheckpointCard, Job
from models.session import Sessions
from models.states import JobState, Pool
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew


@pytest.fixture
def gan(seed: Seeder) -> CheckpointCard:
    """A committed one, on the CPU."""
    return seed.register(read_folder(STARTERS / "animals-gan"))


def result(sessions: Sessions, job: UUID) -> dict[str, object]:
    with sessions() as session:
        found = session.get_one(Job, job).result
        assert found is not None
        return dict(found["reproduction"])


def test_the_same_is_identical_though_the_files_name_other_jobs(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, gan: CheckpointCard
) -> None:
    """Then, given another picture in place of the first, it is not, and the likeness is told."""
    client = seed.client()
    asked = {"class_label": "cat", "num_images": 2, "seed": 7}
    first = seed.job(client, gan, task="class_to_image", params=asked)
    crew.worker(pool=Pool.CPU)
    assert crew.finish(first) == [JobState.SUCCEEDED]
    again = seed.job(client, gan, task="class_to_image", params=asked, source_job_id=first, reproduces=True)
    crew.ticket(Pool.CPU)
    assert crew.finish(again) == [JobState.SUCCEEDED]

    told = result(sessions, again)
    assert (told["of"], told["identical"], told["batch_images"]) == (str(first), True, {"was": 2, "is": 2})
    assert told["outputs"] == [{"index": index, "identical": True, "ssim": 1.0} for index in range(2)]
    with sessions() as session:
        rows = session.scalars(select(Artifact).where(Artifact.job_id.in_([first, again]))).all()
    assert len({row.sha256 for row in rows}) == 4
    assert len({row.pixels_sha256 for row in rows}) == 2

    forge(sessions, storage, first)
    third = seed.job(client, gan, task="class_to_image", params=asked, source_job_id=first, reproduces=True)
    crew.ticket(Pool.CPU)
    assert crew.finish(third) == [JobState.SUCCEEDED]
    told = result(sessions, third)
    one, two = told["outputs"]  # type: ignore[misc]
    assert (told["identical"], two["identical"]) == (False, True)  # type: ignore[index]
    assert not one["identical"]  # type: ignore[index]
    assert 0.5 < one["ssim"] < 1  # type: ignore[index]


def forge(sessions: Sessions, storage: Storage, job: UUID) -> None:
    """Leave the first picture of a job a little darker than it was made."""
    with sessions.begin() as session:
        row = session.scalars(select(Artifact).where(Artifact.job_id == job, Artifact.index == 0)).one()
        with Image.open(io.BytesIO(storage.get(row.key))) as picture:
            pixels = (np.asarray(picture.convert("RGB")) * 0.9).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        storage.put(f"{row.key}-forged", stream.getvalue(), "image/png")
        session.execute(
            update(Artifact).where(Artifact.id == row.id).values(key=f"{row.key}-forged", pixels_sha256="another")
        )
