"""Flux' nets that see more than words by themselves: Fill sees a masked picture, Canny and Depth see a map."""

from typing import Any

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from tests.pipelines.conftest import Load, run
from tests.pipelines.diffusers.led import led, picture
from worker.media.edges import canny
from worker.pipelines.base import generator_for
from worker.pipelines.diffusers.fitting import to_tensor

RIGHT_HALF = [{"shape": "rectangle", "left": 0.5, "top": 0, "right": 1, "bottom": 1}]


def plain(pipeline: Any, **given: Any) -> Any:
    """What diffusers itself makes of two prompts."""
    with torch.inference_mode():
        made = pipeline._pipe(
            prompt=["a cat", "a dog"],
            width=32,
            height=32,
            num_inference_steps=3,
            guidance_scale=4.0,
            generator=[generator_for(seed, 0) for seed in (5, 6)],
            output_type="np",
            **given,
        ).images
    return (made * 255).round().astype("uint8")


def test_a_mask_is_filled_as_diffusers_fills_it(load: Load) -> None:
    pipeline = load("fill_flux")
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 16:] = 1
    expected = plain(pipeline, image=to_tensor([picture(1), picture(2)]), mask_image=mask)
    jobs = [
        led("inpaint", {"image": picture(seed - 4)}, prompt=prompt, seed=seed, mask_shapes=RIGHT_HALF)
        for seed, prompt in ((5, "a cat"), (6, "a dog"))
    ]
    for shown, other, look in zip(run(pipeline, *jobs), expected, (1, 2), strict=True):
        assert np.array_equal(shown.pixels[:, 16:], other[:, 16:])
        assert np.array_equal(shown.pixels[:, :16], picture(look)[:, :16])


def test_a_canvas_is_filled_round_its_picture(load: Load) -> None:
    one = led("outpaint", {"image": picture()}, prompt="a cat", zoom=0.5, feather=0)
    first, second = (run(load("fill_flux"), one)[0].pixels for _ in range(2))
    assert first.shape == (32, 32, 3)
    assert np.array_equal(first, second)


def test_a_map_leads_without_a_second_net(load: Load) -> None:
    pipeline = load("control_flux")
    expected = plain(pipeline, control_image=to_tensor([canny(picture(1)), canny(picture(2))]))
    jobs = [
        led("control", {"image": picture(seed - 4)}, prompt=prompt, seed=seed)
        for seed, prompt in ((5, "a cat"), (6, "a dog"))
    ]
    made = run(pipeline, *jobs)
    assert all(np.array_equal(shown.pixels, other) for shown, other in zip(made, expected, strict=True))


def test_how_strongly_it_leads_cannot_be_said(load: Load) -> None:
    one = led("control", {"image": picture()}, prompt="a cat", control_scale=0.5)
    with pytest.raises(InvalidInputError, match="no scale") as caught:
        run(load("control_flux"), one)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/control_scale"}
