"""The names of trained checkpoints: a client's own may be trained anew; what is somebody else's is never replaced."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select

from models.checkpoints import Checkpoint, FileManifest, Source
from models.checkpoints.registry import Registration
from models.errors import InvalidInputError
from models.jobs import Published, publish
from models.jobs.naming import name_is_free
from models.params import CheckpointProfile
from models.session import Sessions
from models.states import JobState, Pool
from tests.seeding import Seeder

MADE = Registration(
    name="mine",
    family="dcgan",
    tasks=("sample",),
    pool=Pool.CPU,
    source=Source.S3,
    location="checkpoints/one",
    manifest=FileManifest({"model.safetensors": {"sha256": "1" * 64, "size_bytes": 1}}),
    profile=CheckpointProfile(),
)


def train(seed: Seeder, sessions: Sessions, client: UUID, made: Registration = MADE) -> UUID:
    """A job that ends with a checkpoint."""
    job = seed.job(client, seed.checkpoint("tiny"))
    (claimed,) = seed.claim()
    with sessions.begin() as session:
        assert publish(session, claimed.hold, [], {}, trained=made) is Published.DONE
    return job


def free(sessions: Sessions, name: str, client: UUID) -> bool:
    with sessions() as session:
        return name_is_free(session, name, client)


def test_a_client_trains_its_own_anew(seed: Seeder, sessions: Sessions) -> None:
    owner, other = seed.client(), seed.client()
    assert free(sessions, "mine", owner)
    first = train(seed, sessions, owner)
    assert free(sessions, "mine", owner)
    assert not free(sessions, "mine", other)
    manifest = FileManifest({"model.safetensors": {"sha256": "2" * 64, "size_bytes": 1}})
    second = train(seed, sessions, owner, replace(MADE, manifest=manifest, location="checkpoints/two"))
    with sessions() as session:
        rows = session.execute(
            select(Checkpoint.made_by_job_id, Checkpoint.enabled).where(Checkpoint.name == "mine")
        ).all()
    assert sorted(map(tuple, rows)) == sorted([(first, False), (second, True)])


def test_an_operators_checkpoint_is_nobodys_to_replace(seed: Seeder, sessions: Sessions) -> None:
    seed.checkpoint("emoji-64")
    assert not free(sessions, "emoji-64", seed.client())


def test_a_name_that_is_taken_meanwhile_publishes_nothing(seed: Seeder, sessions: Sessions) -> None:
    """Given two clients that train under one name, when the second publishes, then nothing of it is there."""
    train(seed, sessions, seed.client())
    job = seed.job(seed.client(), seed.checkpoint("tiny"))
    (claimed,) = seed.claim()
    with pytest.raises(InvalidInputError) as error, sessions.begin() as session:
        publish(session, claimed.hold, [], {}, trained=replace(MADE, location="checkpoints/two"))
    assert error.value.extra["field"] == "/params/name"
    assert seed.read(job).state is JobState.RUNNING
    with sessions() as session:
        assert session.scalars(select(Checkpoint.location).where(Checkpoint.name == "mine")).all() == [
            "checkpoints/one"
        ]
