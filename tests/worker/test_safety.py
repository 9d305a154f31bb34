"""Pictures that a client shall not get: never stored, never shown, and the job says so."""

from uuid import UUID

import numpy as np
from sqlalchemy import select, update

from models.artifacts import Artifact
from models.clients import Client
from models.jobs import CheckpointCard, Job
from models.params.latents import AnimationFormat
from models.progress import ProgressBoard
from models.queue import connect_redis
from models.session import Sessions
from models.settings import Settings
from models.states import JobState
from models.storage import Storage
from tests.seeding import Seeder
from tests.worker.conftest import Crew
from worker.courier.frames import FileHead, PictureHead
from worker.courier.parts import Part
from worker.courier.safety import MOST_FRAMES, SafetyFilter, _frames, _spread
from worker.media.animation import animate


def strict(seed: Seeder, sessions: Sessions, threshold: float) -> UUID:
    """A client with a threshold."""
    client = seed.client()
    with sessions.begin() as session:
        session.execute(update(Client).where(Client.id == client).values(safety_threshold=threshold))
    return client


def test_what_reaches_the_threshold_is_nowhere(
    crew: Crew,
    seed: Seeder,
    sessions: Sessions,
    settings: Settings,
    storage: Storage,
    slow_checkpoint: CheckpointCard,
) -> None:
    """Given one client whose threshold every picture reaches and one whose none does, the same job ends differently."""
    params = {"prompt": "step 0.6", "num_images": 2, "num_inference_steps": 3, "seed": 7}
    nothing = seed.job(strict(seed, sessions, 0.0), slow_checkpoint, params=params)
    everything = seed.job(strict(seed, sessions, 1.0), slow_checkpoint, params=params)
    crew.worker()
    assert crew.finish(nothing, everything, seconds=60) == [JobState.SUCCEEDED] * 2

    with sessions() as session:
        kept = {
            job: session.scalars(select(Artifact.index).where(Artifact.job_id == job)).all()
            for job in (nothing, everything)
        }
        result = session.get_one(Job, nothing).result
    assert kept == {nothing: [], everything: [0, 1]}
    assert result is not None
    assert [(entry["index"], entry["reason"]) for entry in result["withheld"]] == [(0, "unsafe"), (1, "unsafe")]
    assert all(0 <= entry["score"] <= 1 for entry in result["withheld"])
    assert [blob.key for blob in storage.listing(f"results/{nothing}/")] == []
    board = ProgressBoard(connect_redis(settings))
    assert board.preview(nothing) is None
    assert board.preview(everything) is None, "nobody looks at these before they are filtered"


def test_an_animation_is_looked_at_along_its_whole_length() -> None:
    """A single frame among many decides, when it is one of those that are looked at."""
    frames = np.zeros((40, 32, 32, 3), np.uint8)
    frames[-1] = 255
    for kind, media_type in ((AnimationFormat.GIF, "image/gif"), (AnimationFormat.WEBP, "image/webp")):
        body = animate(frames, kind, 12.0).body
        part = Part(FileHead("walk", media_type, len(body), 0, 32, 32), memoryview(body))
        seen = list(_frames(part))
        assert len(seen) <= MOST_FRAMES
        assert [int(seen[0].mean()), int(seen[-1].mean())] == [0, 255]
    assert _spread(40) >= {0, 39}


def test_parts_of_a_checkpoint_and_documents_show_nothing() -> None:
    """And so pass without a look; pictures beside them are scored by the net."""
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    parts = [
        Part(PictureHead(0, 7, 24, 24), memoryview(picture).cast("B")),
        Part(FileHead("report.json", "application/json", 2, 1), memoryview(b"{}")),
        Part(FileHead("samples.png", "image/png", 3, None), memoryview(b"png")),
    ]
    kept, withheld = SafetyFilter().split(parts, 1.0)
    assert (len(kept), withheld) == (3, [])
    kept, withheld = SafetyFilter().split(parts, 0.000001)
    assert [part.head for part in kept] == [part.head for part in parts[1:]]
    assert [entry["index"] for entry in withheld] == [0]
