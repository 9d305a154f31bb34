"""Data sets through the real worker, courier and services: prepared, trained on, and what was trained used at once."""

import io
import json
import os
import signal
import zipfile
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from models.artifacts import Artifact, Upload, UploadKind, training_prefix
from models.bootstrap import STARTERS
from models.checkpoints import Checkpoint, Source
from models.checkpoints.shipped import read_starter
from models.jobs import Attempt, CheckpointCard
from models.session import Sessions
from models.states import AttemptOutcome, JobState, Pool
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew, until
from tests.zips import image_folder, zipped

SHORT = {"SAFELIGHT_LEASE_SECONDS": "5", "SAFELIGHT_SWEEP_SECONDS": "0.3", "SAFELIGHT_DRAIN_SECONDS": "0.5"}
STEPS = 80
SMALL = {"method": "dcgan", "image_size": 32, "batch_size": 4, "seed": 5}


@pytest.fixture
def tools(seed: Seeder) -> dict[str, CheckpointCard]:
    """The built-in checkpoints, for one worker of the CPU pool."""
    names = ("preprocess", "trainer")
    return {name: seed.register(replace(read_starter(STARTERS / name), pool=Pool.CPU)) for name in names}


@pytest.fixture
def owner(seed: Seeder) -> UUID:
    return seed.client()


@pytest.fixture
def data_set(sessions: Sessions, storage: Storage, owner: UUID) -> dict[str, str]:
    """An upload as the API would leave it."""
    body = zipped(image_folder({"cat": 6, "dog": 6}, (40, 32)) | {"cat/broken.png": b"broken"})
    row = Upload(client_id=owner, key="uploads/set.zip", kind=UploadKind.DATA_SET, sha256="x", size_bytes=len(body))
    row.media_type = "application/zip"
    storage.put(row.key, body, row.media_type)
    with sessions.begin() as session:
        session.add(row)
        session.flush()
        return {"upload": str(row.id)}


def artifacts(sessions: Sessions, job: UUID) -> dict[str, Artifact]:
    with sessions() as session:
        rows = session.scalars(select(Artifact).where(Artifact.job_id == job).order_by(Artifact.index)).all()
    return {row.name or str(row.index): row for row in rows}


def trained(sessions: Sessions, name: str) -> Checkpoint:
    with sessions() as session:
        return session.scalars(select(Checkpoint).where(Checkpoint.name == name, Checkpoint.enabled)).one()


def card_of(row: Checkpoint) -> CheckpointCard:
    return CheckpointCard(row.id, row.name, row.family, row.revision, row.pool, row.profile, None)


@pytest.mark.slow
def test_a_data_set_becomes_a_checkpoint_becomes_pictures(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    tools: dict[str, CheckpointCard],
    owner: UUID,
    data_set: dict[str, str],
) -> None:
    crew.worker(pool=Pool.CPU)

    # when: a data set is prepared
    prepared = seed.job(owner, tools["preprocess"], task="preprocess", params={"data_set": data_set, "width": 32})
    crew.ticket(Pool.CPU)
    assert crew.finish(prepared) == [JobState.SUCCEEDED]

    # then: it lies there with its report and its sheet
    found = artifacts(sessions, prepared)
    assert list(found) == ["data_set.zip", "report.json", "contact_sheet.png"]
    assert found["data_set.zip"].media_type == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(storage.get(found["data_set.zip"].key))).namelist()
    assert len([name for name in names if name.endswith(".png")]) == 12
    report = json.loads(storage.get(found["report.json"].key))
    assert list(report["dropped"]["broken"]["names"]) == ["cat/broken.png"]
    assert seed.read(prepared).result["dropped"] == {"broken": 1}

    # when: a GAN is trained on it, under a free name and under a taken one
    wanted = {**SMALL, "data_set": {"job": str(prepared)}, "max_steps": 3}
    training = seed.job(owner, tools["trainer"], task="train", params={**wanted, "name": "mine"})
    rejected = seed.job(owner, tools["trainer"], task="train", params={**wanted, "name": "preprocess"})
    crew.ticket(Pool.CPU)
    assert crew.finish(training, rejected) == [JobState.SUCCEEDED, JobState.FAILED]

    # then: the checkpoint is registered with its files, and the other is not half there
    assert list(artifacts(sessions, training)) == ["curves.png", "samples.png", "curves.json", "report.json"]
    row = trained(sessions, "mine")
    assert (row.family, row.source, row.made_by_job_id) == ("dcgan", Source.S3, training)
    assert {"model.safetensors", "config.json", "README.md", "samples.png", "safelight.json"} == set(row.files)
    assert seed.read(training).result["checkpoint"] == "mine"
    failed: Any = seed.read(rejected)
    assert (failed.error_code, artifacts(sessions, rejected)) == ("invalid_input", {})
    assert "'preprocess'" in str(failed.error_detail)
    assert trained(sessions, "preprocess").made_by_job_id is None

    # and: it draws at once
    drawn = seed.job(owner, card_of(row), task="sample", params={"num_images": 2, "seed": 1})
    crew.ticket(row.pool)
    assert crew.finish(drawn) == [JobState.SUCCEEDED]
    assert [(made.width, made.height) for made in artifacts(sessions, drawn).values()] == [(32, 32)] * 2


@pytest.mark.slow
def test_a_training_goes_on_where_a_drained_and_a_killed_worker_left_it(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    storage: Storage,
    tools: dict[str, CheckpointCard],
    owner: UUID,
    data_set: dict[str, str],
) -> None:
    """Given a training whose workers are stopped and then killed, when a third ends it, then as if nothing had been."""
    wanted = {**SMALL, "data_set": data_set, "max_steps": STEPS}
    job = seed.job(owner, tools["trainer"], task="train", params={**wanted, "name": "broken"})

    def newest() -> int:
        keys = [blob.key for blob in storage.listing(training_prefix(job))]
        return max((int(key.rsplit("/", 1)[1].split("-")[0]) for key in keys), default=0)

    first = crew.worker(pool=Pool.CPU, **SHORT)
    until(newest, what="a state on the shelf")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    assert crew.states(job) == [JobState.QUEUED]
    drained_at = newest()
    assert 0 < drained_at < STEPS

    second = crew.worker(pool=Pool.CPU, **SHORT)
    until(lambda: newest() > drained_at, what="a later state")
    os.kill(second.pid, signal.SIGKILL)
    killed_at = newest()
    assert killed_at < STEPS
    crew.sweeper(**SHORT)
    crew.worker(pool=Pool.CPU, **SHORT)
    assert crew.finish(job, seconds=60) == [JobState.SUCCEEDED]

    with sessions() as session:
        outcomes = session.scalars(select(Attempt.outcome).where(Attempt.job_id == job).order_by(Attempt.number)).all()
    assert (outcomes[0], outcomes[-1]) == (AttemptOutcome.DRAINED, AttemptOutcome.SUCCEEDED)
    assert set(outcomes[1:-1]) == {AttemptOutcome.LOST}  # one; or more, on a machine that starves a heartbeat
    result = seed.read(job).result
    assert result["steps"] == STEPS
    assert result["resumed_at_step"] >= killed_at

    unbroken = seed.job(owner, tools["trainer"], task="train", params={**wanted, "name": "unbroken"})
    crew.ticket(Pool.CPU)
    assert crew.finish(unbroken, seconds=60) == [JobState.SUCCEEDED]
    one, other = (trained(sessions, name).files["model.safetensors"] for name in ("broken", "unbroken"))
    assert one == other
    charts = [storage.get(artifacts(sessions, made)["curves.json"].key) for made in (job, unbroken)]
    assert charts[0] == charts[1]
