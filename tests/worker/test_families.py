"""The families of small nets through the real worker, courier and services: drawn, then taken further by others."""

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from models.artifacts import Artifact
from models.bootstrap import STARTERS
from models.checkpoints import scan_folder
from models.checkpoints.shipped import read_starter
from models.jobs import CheckpointCard
from models.params import TASKS, CheckpointProfile
from models.session import Sessions
from models.states import JobState, Pool
from models.storage import Storage
from tests.pipelines.small import NAMES, PROFILES, save
from tests.seeding import Seeder
from tests.worker.conftest import Crew
from worker.pipelines import load_family

SIDE = 16
LEAST_DECIBELS = 1.0
PATIENCE_SECONDS = 240.0
"""Importing diffusers and transformers alone takes half a minute on a machine that does much else."""


@pytest.fixture
def checkpoint(seed: Seeder, tmp_path: Path) -> Any:
    """Registers a family's small checkpoint for the CPU pool."""

    def register(family: str) -> CheckpointCard:
        folder = save(family, tmp_path / family)
        given = {"default_width": SIDE, "default_height": SIDE, "reads_prompt": False} | PROFILES.get(family, {})
        return seed.checkpoint(
            family,
            family=family,
            tasks=tuple(sorted(load_family(family).tasks & TASKS.keys())),
            pool=Pool.CPU,
            location=str(folder),
            manifest=scan_folder(folder),
            profile=CheckpointProfile(**given),
        )

    return register


def made(sessions: Sessions, storage: Storage, job: UUID) -> Image.Image:
    """The job's first output, as it lies in the bucket."""
    with sessions() as session:
        row = session.scalars(select(Artifact).where(Artifact.job_id == job, Artifact.index == 0)).one()
    return Image.open(io.BytesIO(storage.get(row.key)))


@pytest.mark.slow
def test_pictures_are_drawn_and_taken_further(
    crew: Crew, seed: Seeder, sessions: Sessions, storage: Storage, checkpoint: Any
) -> None:
    client = seed.client()

    def job(card: CheckpointCard, task: str, **params: Any) -> UUID:
        return seed.job(client, card, task=task, params={"seed": 5} | params)

    # given: what is drawn from nothing, by a GAN, a transformer and a diffusion
    drawn = {
        "gan": job(checkpoint("stylegan2"), "sample", num_images=2, mix_seed=9),
        "transformer": job(checkpoint("dit"), "class_to_image", class_label=NAMES[1]),
        "diffusion": job(checkpoint("ddpm"), "sample", scheduler="ddim"),
    }
    crew.worker(pool=Pool.CPU)
    assert crew.finish(*drawn.values(), seconds=PATIENCE_SECONDS) == [JobState.SUCCEEDED] * 3

    # when: others take these pictures as their inputs
    gan, diffusion = ({"job": str(drawn[name])} for name in ("gan", "diffusion"))
    vae = checkpoint("vae")
    fast, styles = (
        seed.register(replace(read_starter(STARTERS / name), pool=Pool.CPU))
        for name in ("real-esrgan-fast", "style-transfer-lite")
    )
    further = {
        "translated": job(checkpoint("cyclegan"), "translate", image=gan, size=32),
        "walked": job(vae, "interpolate", images=[gan, diffusion], frames=3, there_and_back=False),
        "rebuilt": job(vae, "reconstruct", image=diffusion),
        "styled": job(styles, "style_transfer", image=gan, style_image=diffusion),
        "swin": job(checkpoint("swin2sr"), "upscale", image=gan | {"index": 1}),
    }
    enlarged = job(fast, "upscale", image=gan, scale=3)
    crew.ticket(Pool.CPU)
    wanted = dict.fromkeys(further, JobState.SUCCEEDED)

    # then: each is a picture of its own size, and says what there is to say
    assert dict(zip(further, crew.finish(*further.values(), seconds=PATIENCE_SECONDS), strict=True)) == wanted
    assert crew.finish(enlarged, seconds=PATIENCE_SECONDS) == [JobState.SUCCEEDED]
    sizes = {name: made(sessions, storage, further[name]).size for name in ("translated", "rebuilt", "styled", "swin")}
    assert sizes == {"translated": (32, 32), "rebuilt": (16, 16), "styled": (16, 16), "swin": (32, 32)}
    assert made(sessions, storage, enlarged).size == (48, 48)
    walked: Any = made(sessions, storage, further["walked"])
    assert (walked.format, walked.n_frames, walked.size) == ("GIF", 3, (16, 16))
    result = seed.read(further["rebuilt"]).result
    assert math.isfinite(result["psnr_db"])
    assert result["psnr_db"] > LEAST_DECIBELS
    assert np.asarray(made(sessions, storage, drawn["transformer"])).std() > 1
