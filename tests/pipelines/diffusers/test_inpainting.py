"""Inpainting and outpainting: what is outside of the mask stays to the byte, what is inside is made anew."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import InvalidInputError
from models.params import SchedulerName
from tests.pipelines.conftest import Load, Recorder, run
from tests.pipelines.diffusers.led import distance, led, picture
from worker.pipelines.base import Item, generator_for
from worker.pipelines.diffusers.fitting import to_tensor
from worker.pipelines.diffusers.inpainting import laid_over

CLASSES = ["sd1", "sdxl", "sd3", "flux", "inpaint"]
"""Whose class in diffusers knows of masks; the last has nine channels, the others blend."""
ALL = [*CLASSES, "wide"]
RIGHT_HALF = [{"shape": "rectangle", "left": 0.5, "top": 0, "right": 1, "bottom": 1}]


def job(seed: int = 1, look: int = 1, **params: Any) -> Item:
    masked = {} if {"mask_automatic"} & set(params) else {"mask_shapes": RIGHT_HALF}
    return led("inpaint", {"image": picture(look)}, **({"prompt": "a cat", "seed": seed} | masked | params))


def half(left: int, right: int) -> Any:
    """A mask of two halves."""
    return np.repeat(np.array([[left] * 16 + [right] * 16] * 32, np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("folder", CLASSES)
def test_inside_are_the_bytes_of_the_plain_diffusers_call_and_outside_the_pictures(load: Load, folder: str) -> None:
    pipeline: Any = load(folder)
    pipe = pipeline._denoiser.sisters.for_task("inpaint").pipe
    guidance = "true_cfg_scale" if folder == "flux" else "guidance_scale"
    with torch.inference_mode():
        plain = pipe(
            prompt=["a cat", "a dog"],
            image=to_tensor([picture(1), picture(2)]),
            mask_image=to_tensor([half(0, 255)] * 2)[:, :1],
            strength=0.7,
            width=32,
            height=32,
            num_inference_steps=3,
            generator=[generator_for(seed, 0) for seed in (5, 6)],
            output_type="np",
            **{guidance: 4.0},
        ).images
    expected = (plain * 255).round().astype("uint8")
    made = run(pipeline, job(5, 1, strength=0.7), job(6, 2, strength=0.7, prompt="a dog"))
    for shown, other, given in zip(made, expected, (picture(1), picture(2)), strict=True):
        assert np.array_equal(shown.pixels[:, 16:], other[:, 16:])
        assert np.array_equal(shown.pixels[:, :16], given[:, :16])
        assert not np.array_equal(shown.pixels[:, 16:], given[:, 16:])


@pytest.mark.parametrize("folder", ALL)
def test_one_batch_gives_the_same_bytes_twice_and_each_row_has_its_own_picture_and_mask(
    load: Load, folder: str
) -> None:
    pipeline = load(folder)
    left = [{"shape": "rectangle", "left": 0, "top": 0, "right": 0.5, "bottom": 1}]
    jobs = [job(1, 1, num_images=2), job(2, 2, num_images=2, mask_shapes=left)]
    first, second = run(pipeline, *jobs), run(pipeline, *jobs)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    assert np.array_equal(first[1].pixels[:, :16], picture(1)[:, :16])
    assert np.array_equal(first[2].pixels[:, 16:], picture(2)[:, 16:])
    assert distance(first[2].pixels, first[3].pixels) > 2
    alone = run(pipeline, jobs[1])
    assert all(distance(a.pixels, b.pixels) <= 2 for a, b in zip(first[2:], alone, strict=True))


@pytest.mark.parametrize("scheduler", [name for name in SchedulerName if name is not SchedulerName.DEFAULT])
def test_every_sampler_blends(load: Load, scheduler: SchedulerName) -> None:
    one = job(scheduler=scheduler, num_inference_steps=5, strength=0.8)
    first, second = (run(load("wide"), one)[0].pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert first[:, 16:].std() > 1


def test_blending_lays_the_pictures_own_latents_back(load: Load) -> None:
    """The class for four channels, which diffusers blends itself, is the reference for ours."""
    pipeline: Any = load("sd1")
    from worker.pipelines.diffusers import sisters

    own = pipeline._denoiser.sisters
    theirs = run(pipeline, job(strength=0.7, num_inference_steps=10, scheduler=SchedulerName.DDIM))[0].pixels
    blending = sisters.Sisters(own.main.pipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sisters, "blends", lambda _pipe: True)
        patch.setattr(pipeline._denoiser, "sisters", blending)
        ours = run(pipeline, job(strength=0.7, num_inference_steps=10, scheduler=SchedulerName.DDIM))[0].pixels
    assert type(blending.for_task("inpaint").pipe).__name__ == "StableDiffusionImg2ImgPipeline"
    assert distance(ours, theirs) <= 1


def test_masks_are_uploaded_drawn_or_found(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def mask(self, pixels: Any) -> Any:
            return np.repeat(np.linspace(0, 1, pixels.shape[1], dtype=np.float32)[None], len(pixels), 0)

    monkeypatch.setattr("worker.pipelines.diffusers.inpainting._finder", Finder)
    uploaded = led("inpaint", {"image": picture(), "mask": half(0, 255)}, prompt="a cat")
    shown = [run(load("sd1"), one)[0].pixels for one in (job(), uploaded, job(mask_automatic="foreground"))]
    assert np.array_equal(shown[0], shown[1])
    assert np.array_equal(shown[0], shown[2])
    behind = run(load("sd1"), job(mask_automatic="background"))[0].pixels
    assert np.array_equal(behind[:, 16:], picture()[:, 16:])


def test_a_mask_grows_and_fades(load: Load) -> None:
    grown = run(load("sd1"), job(mask_grow=0.125))[0].pixels
    assert np.array_equal(grown[:, :12], picture()[:, :12])
    assert not np.array_equal(grown[:, 12:16], picture()[:, 12:16])
    hard, faded = (run(load("sd1"), job(mask_feather=feather))[0].pixels.astype(int) for feather in (0.0, 0.25))
    seam = [np.abs(shown[:, 16] - shown[:, 15]).mean() for shown in (hard, faded)]
    assert seam[1] < seam[0]
    assert np.array_equal(faded[:, :8], picture()[:, :8])


def test_the_mask_goes_with_the_picture_to_another_size(load: Load) -> None:
    wide = picture(1, 64, 32)
    shown = run(load("sd1"), led("inpaint", {"image": wide}, prompt="a cat", mask_shapes=RIGHT_HALF))[0].pixels
    assert np.array_equal(shown[:, :16], wide[:, 16:32])  # the middle of it is kept, and the mask's edge is there
    assert not np.array_equal(shown[:, 16:], wide[:, 32:48])


@pytest.mark.parametrize(
    ("inputs", "params", "field"),
    [
        ({"mask": half(0, 255)[:16]}, {}, "mask"),
        ({"mask": half(0, 0)}, {}, "mask"),
        ({}, {"mask_shapes": RIGHT_HALF, "mask_grow": -0.25, "mask_feather": 0.0}, "mask_shapes"),
    ],
)
def test_a_mask_that_cannot_be_used_names_its_field(
    load: Load, inputs: dict[str, Any], params: dict[str, Any], field: str
) -> None:
    if field == "mask_shapes":
        params = params | {"mask_shapes": [{"shape": "stroke", "points": [(0.5, 0.5)], "width": 0.05}]}
    one = led("inpaint", {"image": picture()} | inputs, prompt="a cat", **params)
    with pytest.raises(InvalidInputError) as caught:
        run(load("sd1"), one)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": f"/params/{field}"}


def test_where_nothing_stands_out_a_mask_must_be_drawn(load: Load) -> None:
    pytest.importorskip("onnxruntime")
    one = led("inpaint", {"image": np.full((32, 32, 3), 90, np.uint8)}, prompt="a cat", mask_automatic="foreground")
    with pytest.raises(InvalidInputError, match="Nothing stands out") as caught:
        run(load("sd1"), one)
    assert caught.value.extra["field"] == "/params/mask_automatic"


@pytest.mark.parametrize("folder", ALL)
def test_outpainting_keeps_the_picture_in_its_place(load: Load, folder: str) -> None:
    small = picture(1, 16, 16)
    jobs = [
        led("outpaint", {"image": small}, prompt="a cat", zoom=0.5, feather=0),
        led("outpaint", {"image": small}, prompt="a cat", zoom=0.5, feather=0, x=0, y=1),
    ]
    middle, corner = run(load(folder), *jobs)
    assert np.array_equal(middle.pixels[8:24, 8:24], small)
    assert np.array_equal(corner.pixels[16:, :16], small)
    again = run(load(folder), *jobs)
    assert np.array_equal(middle.pixels, again[0].pixels)


def test_outpainting_fades_inside_of_the_picture_only(load: Load) -> None:
    small = picture(1, 24, 24)
    one = led("outpaint", {"image": small}, prompt="a cat", zoom=0.75, feather=0.125)
    shown = run(load("sd1"), one)[0].pixels
    inner = shown[4:28, 4:28]
    assert np.array_equal(inner[6:18, 6:18], small[6:18, 6:18])
    assert not np.array_equal(inner[0], small[0])


def test_outpainting_takes_over_the_pictures_tone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.full((32, 32, 3), 120, np.uint8)
    one = led("outpaint", {"image": grey}, prompt="a cat", zoom=0.5, feather=0)
    darker = np.full((1, 32, 32, 3), 100, np.uint8)
    pipeline: Any = load("sd1")
    monkeypatch.setattr(type(pipeline._denoiser), "call", lambda *_: darker)
    assert np.array_equal(run(pipeline, one)[0].pixels, grey)


def test_a_picture_of_another_shape_is_contained_or_covers_its_place(load: Load) -> None:
    broad = picture(1, 32, 16)
    contained = led("outpaint", {"image": broad}, prompt="a cat", zoom=0.5, feather=0, fit="contain")
    shown = run(load("sd1"), contained)[0].pixels
    small = np.array(Image.fromarray(broad).resize((16, 8), Image.Resampling.LANCZOS))
    assert np.array_equal(shown[12:20, 8:24], small)


def test_outpainting_starts_from_the_edges_where_the_net_sees_no_mask(load: Load) -> None:
    one = led("outpaint", {"image": picture(1, 16, 16)}, prompt="a cat", num_inference_steps=20)
    steps = []
    for folder in ("sd1", "inpaint"):
        context = Recorder()
        run(load(folder), one, context=context)
        steps.append(context.steps[-1])
    assert steps == [(19, 19), (20, 20)]


def test_laying_over_is_exact_at_both_ends() -> None:
    random = np.random.default_rng(1)
    below, above = random.integers(0, 256, (2, 8, 8, 3), np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:], mask[4:] = 128, 255
    shown = laid_over(below, above, mask)
    assert np.array_equal(shown[:2], below[:2])
    assert np.array_equal(shown[4:], above[4:])
    assert np.abs(shown[2:4].astype(int) - (below[2:4].astype(int) + above[2:4]) / 2).max() <= 2
