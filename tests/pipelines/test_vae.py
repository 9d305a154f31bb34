"""The VAE: through its latents and back, and from picture to picture."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidInputError
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import gradient, job, open_family, save, vae
from worker.devices import Device
from worker.media.transforms import resize
from worker.pipelines.base import Blob, Facts, Pipeline
from worker.quality.psnr import psnr
from worker.quality.ssim import ssim

SIDE = 16


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, cpu: Device) -> Pipeline:
    return open_family("vae", save("vae", tmp_path_factory.mktemp("net")), cpu)


def through(pipeline: Pipeline, *jobs: Any, context: Recorder | None = None) -> list[Any]:
    return run(pipeline, *jobs, context=context)


def test_a_picture_comes_back_with_what_was_lost(pipeline: Pipeline) -> None:
    given = gradient(40, 30)
    item = job("reconstruct", "vae", {"image": given})
    picture, facts = through(pipeline, item)
    seen = resize(given, SIDE, SIDE)
    assert picture.pixels.shape == (SIDE, SIDE, 3)
    assert isinstance(facts, Facts)
    assert facts.data == {
        "psnr_db": pytest.approx(psnr(seen, picture.pixels), abs=0.01),
        "ssim": pytest.approx(ssim(seen, picture.pixels), abs=1e-4),
    }


def test_pictures_of_any_size_share_a_batch(pipeline: Pipeline) -> None:
    jobs = [job("reconstruct", "vae", {"image": gradient(*size)}) for size in ((8, 50), (64, 64))]
    context = Recorder()
    together = through(pipeline, *jobs, context=context)
    assert context.steps == [(2, 2)]
    assert [output.job_id for output in together] == [item.job_id for item in jobs for _ in range(2)]
    for item, made in zip(jobs, together[::2], strict=True):
        assert np.abs(made.pixels.astype(int) - through(pipeline, item)[0].pixels).max() <= 1


def test_a_drawn_latent_differs_by_its_seed_and_the_mean_does_not(pipeline: Pipeline) -> None:
    def made(**params: Any) -> bytes:
        picture, _ = through(pipeline, job("reconstruct", "vae", {"image": gradient()}, **params))
        return bytes(picture.pixels.tobytes())

    assert made(seed=1) == made(seed=2)
    assert len({made(seed=1, sample=True), made(seed=2, sample=True), made()}) == 3
    assert made(seed=1, sample=True) == made(seed=1, sample=True)


def test_a_walk_between_pictures_begins_and_ends_at_their_reconstructions(pipeline: Pipeline) -> None:
    pictures = {"images/0": gradient(), "images/1": 255 - gradient(16, 16)}
    params = {"frames": 4, "there_and_back": False, "animation_format": "webp"}
    (file,) = through(pipeline, job("interpolate", "vae", pictures, **params))
    with Image.open(io.BytesIO(file.body)) as animation:
        assert (animation.n_frames, file.size, file.media_type) == (4, (SIDE, SIDE), "image/webp")  # type: ignore[attr-defined]
        for place, given in ((0, pictures["images/0"]), (3, pictures["images/1"])):
            animation.seek(place)
            shown = np.asarray(animation.convert("RGB")).astype(int)
            back, _ = through(pipeline, job("reconstruct", "vae", {"image": given}))
            assert np.abs(shown - back.pixels).max() <= 1


def test_a_grey_net_sees_and_shows_grey(tmp_path: Path, cpu: Device) -> None:
    vae(tmp_path, channels=1)
    picture, facts = through(open_family("vae", tmp_path, cpu), job("reconstruct", "vae", {"image": gradient()}))
    assert (picture.pixels == picture.pixels[..., :1]).all()
    assert facts.data["psnr_db"] > 0


def test_bytes_that_are_no_picture_are_told_of_their_field(pipeline: Pipeline) -> None:
    good, bad = (job("reconstruct", "vae", {"image": gradient()}) for _ in range(2))
    object.__setattr__(bad, "inputs", {"image": Blob(b"no picture", "image/png")})
    with pytest.raises(InvalidInputError) as caught:
        through(pipeline, good, bad)
    assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/image"}


def test_a_stopped_reconstruction_is_left_out(pipeline: Pipeline) -> None:
    jobs = [job("reconstruct", "vae", {"image": gradient()}) for _ in range(2)]
    left = through(pipeline, *jobs, context=Recorder(stopped_ids={jobs[0].job_id}))
    assert {output.job_id for output in left} == {jobs[1].job_id}
