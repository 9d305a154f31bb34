"""Every family of diffusers folders, through one contract: sizes, seeds, batches, guidance."""

from typing import Any

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from tests.pipelines.conftest import Load, item, run
from worker.pipelines.base import Picture, generator_for

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "sd3_without_t5", "flux", "flux_distilled")
NOISE = 2
"""Levels of 255 by which a picture may differ between batches of other shapes."""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_makes_pictures_of_the_asked_size(load: Load, family: str) -> None:
    job = item(width=48, height=32)
    (picture,) = run(load(family), job)
    assert picture.pixels.shape == (32, 48, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags["C_CONTIGUOUS"]
    assert (picture.job_id, picture.index, picture.seed) == (job.job_id, 0, 1)
    assert picture.pixels.std() > 1


def test_gives_the_bytes_of_the_plain_diffusers_call(load: Load, family: str) -> None:
    pipeline: Any = load(family)
    guidance = "true_cfg_scale" if family == "flux" else "guidance_scale"
    with torch.inference_mode():
        plain = pipeline._pipe(
            prompt=["a cat", "a dog"],
            width=32,
            height=32,
            num_inference_steps=3,
            num_images_per_prompt=2,
            generator=[generator_for(seed, index) for seed in (5, 6) for index in range(2)],
            output_type="np",
            **{guidance: 4.0},
        ).images
    expected = (plain * 255).round().astype("uint8")
    pictures = run(pipeline, item("a cat", seed=5, num_images=2), item("a dog", seed=6, num_images=2))
    assert [picture.index for picture in pictures] == [0, 1, 0, 1]
    assert all(np.array_equal(picture.pixels, other) for picture, other in zip(pictures, expected, strict=True))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(load: Load, family: str) -> None:
    pipeline = load(family)
    first, second, other = (run(pipeline, item(seed=seed))[0].pixels for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert distance(first, other) > 10


def test_the_order_of_a_batch_does_not_matter(load: Load, family: str) -> None:
    pipeline = load(family)
    jobs = [item("a cat", seed=1), item("a dog", seed=2, negative_prompt=""), item("the sea", seed=3)]
    straight = by_job(run(pipeline, *jobs))
    turned = by_job(run(pipeline, *reversed(jobs)))
    assert all(distance(straight[job.job_id], turned[job.job_id]) <= NOISE for job in jobs)


def test_a_picture_alone_is_the_picture_of_the_batch(load: Load, family: str) -> None:
    pipeline = load(family)
    jobs = [item("a cat", seed=1, num_images=2), item("a dog", seed=2, num_images=2)]
    together = run(pipeline, *jobs)
    alone = run(pipeline, item("a dog", seed=2))
    assert distance(together[2].pixels, alone[0].pixels) <= NOISE
    assert distance(together[2].pixels, together[3].pixels) > 10


def test_prompt_and_guidance_change_the_picture(load: Load, family: str) -> None:
    pipeline = load(family)
    plain, other, guided = (
        run(pipeline, job)[0].pixels
        for job in (item("a cat", guidance_scale=1), item("the sea", guidance_scale=1), item("a cat", guidance_scale=9))
    )
    assert distance(plain, other) > 0
    if family != "flux":  # undistilled Flux guides against a negative prompt only
        assert distance(plain, guided) > 0


def test_a_negative_prompt_changes_the_picture_where_guidance_is_on(load: Load, family: str) -> None:
    pipeline = load(family)
    if family == "flux_distilled":
        job = item(negative_prompt="a dog")
        with pytest.raises(InvalidInputError, match="takes no negative prompt") as caught:
            run(pipeline, job)
        assert caught.value.extra["job_id"] == str(job.job_id)
        return
    without, with_one = (run(pipeline, item(negative_prompt=text, guidance_scale=9))[0] for text in ("", "the sea"))
    assert distance(without.pixels, with_one.pixels) > 0
    without, with_one = (run(pipeline, item(negative_prompt=text, guidance_scale=1))[0] for text in ("", "the sea"))
    assert distance(without.pixels, with_one.pixels) == 0


def test_a_neighbours_negative_prompt_changes_nothing(load: Load, family: str) -> None:
    if family == "flux_distilled":
        pytest.skip("takes no negative prompt")
    pipeline = load(family)
    jobs = [item("a cat", negative_prompt="the sea", seed=1), item("a dog", seed=2)]
    together = by_job(run(pipeline, *jobs))
    for job in jobs:
        assert distance(together[job.job_id], run(pipeline, job)[0].pixels) <= NOISE


def distance(left: Any, right: Any) -> int:
    """The largest difference of any channel of any pixel, 0 to 255."""
    return int(np.abs(left.astype(int) - right.astype(int)).max())


def by_job(pictures: list[Picture]) -> dict[Any, Any]:
    return {picture.job_id: picture.pixels for picture in pictures}
