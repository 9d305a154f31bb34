"""Upscaling by diffusion: diffusers' own bytes, any size, batches by size."""

from typing import Any

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import Load, Recorder, run
from tests.pipelines.diffusers.led import distance, led, picture
from worker.pipelines.base import Item, generator_for
from worker.pipelines.diffusers.fitting import to_tensor

PROFILE = CheckpointProfile(scales=(2,), default_steps=3, default_guidance=4.0, max_steps=50)
FOLDERS = ["upscaler", "latent_upscaler"]


def job(seed: int = 1, look: int = 1, width: int = 16, height: int = 16, **params: Any) -> Item:
    return led("upscale", {"image": picture(look, width, height)}, PROFILE, **({"seed": seed} | params))


@pytest.mark.parametrize("folder", FOLDERS)
def test_gives_the_bytes_of_the_plain_diffusers_call(load: Load, folder: str) -> None:
    pipeline: Any = load(folder)
    beside = {"noise_level": 20} if folder == "upscaler" else {}
    with torch.inference_mode():
        plain = pipeline._pipe(
            prompt=["a cat", ""],
            image=to_tensor([picture(1, 16, 16), picture(2, 16, 16)]),
            num_inference_steps=3,
            guidance_scale=4.0,
            generator=[generator_for(seed, 0) for seed in (5, 6)],
            output_type="np",
            **beside,
        ).images
    expected = (plain * 255).round().astype("uint8")
    made = run(pipeline, job(5, 1, prompt="a cat"), job(6, 2))
    assert all(np.array_equal(shown.pixels, other) for shown, other in zip(made, expected, strict=True))
    assert [shown.pixels.shape for shown in made] == [(32, 32, 3)] * 2


@pytest.mark.parametrize("folder", FOLDERS)
def test_odd_sizes_come_out_twice_as_large_and_each_alone_is_what_it_is_in_a_batch(load: Load, folder: str) -> None:
    jobs = [job(1, 1, 17, 9), job(2, 2, 8, 8), job(3, 3, 17, 9)]
    context = Recorder()
    made = {shown.job_id: shown for shown in run(load(folder), *jobs, context=context)}
    assert [made[one.job_id].pixels.shape for one in jobs] == [(18, 34, 3), (16, 16, 3), (18, 34, 3)]
    assert context.steps == [(done, 6) for done in range(1, 7)]  # two sizes, two calls of three steps
    for one in jobs:
        shown = made[one.job_id].pixels
        assert shown.flags["C_CONTIGUOUS"]
        assert distance(shown, run(load(folder), one)[0].pixels) <= 2


@pytest.mark.parametrize("folder", FOLDERS)
def test_one_batch_gives_the_same_bytes_twice_and_input_and_seed_count(load: Load, folder: str) -> None:
    shown = [run(load(folder), job(*about))[0].pixels for about in ((1, 1), (1, 1), (2, 1), (1, 2))]
    assert np.array_equal(shown[0], shown[1])
    assert len({pixels.tobytes() for pixels in shown}) == 3


def test_words_noise_and_guidance_count(load: Load) -> None:
    jobs = [
        job(),
        job(prompt="a cat"),
        job(negative_prompt="the sea"),
        job(noise_level=200),
        job(prompt="a cat", guidance_scale=1),
        job(num_inference_steps=5),
    ]
    assert len({run(load("upscaler"), one)[0].pixels.tobytes() for one in jobs}) == len(jobs)


def test_what_is_too_large_or_too_much_names_its_field(load: Load) -> None:
    other = CheckpointProfile(scales=(2, 4), default_steps=3)
    four = led("upscale", {"image": picture(1, 16, 16)}, other, scale=4)
    with pytest.raises(InvalidInputError, match="2 times as large") as caught:
        run(load("upscaler"), four)
    assert caught.value.extra == {"job_id": str(four.job_id), "field": "/params/scale"}
    large = job(width=2100, height=2100)
    with pytest.raises(InvalidInputError, match="at most 4194304 pixels") as caught:
        run(load("upscaler"), large)
    assert caught.value.extra == {"job_id": str(large.job_id), "field": "/params/image"}
    noisy = job(noise_level=200)
    with pytest.raises(InvalidInputError, match="adds no noise") as caught:
        run(load("latent_upscaler"), noisy)
    assert caught.value.extra == {"job_id": str(noisy.job_id), "field": "/params/noise_level"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_stop_is_heard_between_steps(load: Load, folder: str) -> None:
    one, context = job(), Recorder()
    context.at_step = lambda _: context.stopped_ids.add(one.job_id)
    with pytest.raises(StoppedError):
        run(load(folder), one, context=context)
    assert context.steps == [(1, 3)]
