"""Reconstruct and interpolate: the autoencoder alone, and walks whose ends are the pictures they claim to be."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidInputError, StoppedError
from models.params import CheckpointProfile
from tests.pipelines.conftest import SIZE, Load, Recorder, item, run
from tests.pipelines.diffusers.led import PROFILE, distance, led, picture
from worker.pipelines.base import Facts, File, Picture
from worker.quality.psnr import psnr
from worker.quality.ssim import ssim

FAMILIES = ["sd1", "sdxl", "sd3", "flux"]


def outputs(load: Load, folder: str, *jobs: Any, context: Recorder | None = None) -> list[Any]:
    found: list[Any] = run(load(folder), *jobs, context=context)
    return found


def frames_of(file: File) -> list[Any]:
    """All frames of a lossless WebP, (H, W, 3) each."""
    frames = []
    with Image.open(io.BytesIO(file.body)) as film:
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            frames.append(np.array(film.convert("RGB")))
    return frames


def walk(inputs: dict[str, Any] | None = None, **params: Any) -> Any:
    """Of five frames, there only, without loss."""
    given = {"frames": 5, "there_and_back": False, "animation_format": "webp"} | params
    return led("interpolate", inputs or {}, **given)


@pytest.mark.parametrize("folder", FAMILIES)
def test_a_picture_comes_back_at_its_size_with_what_it_lost(load: Load, folder: str) -> None:
    jobs = [led("reconstruct", {"image": picture(look, width, 20)}) for look, width in ((1, 32), (2, 17), (3, 32))]
    found = outputs(load, folder, *jobs)
    for one, width, look in zip(jobs, (32, 17, 32), (1, 2, 3), strict=True):
        shown, facts = (output for output in found if output.job_id == one.job_id)
        assert (type(shown), type(facts)) == (Picture, Facts)
        assert shown.pixels.shape == (20, width, 3)
        given = picture(look, width, 20)
        assert facts.data["psnr_db"] == pytest.approx(psnr(given, shown.pixels), abs=1e-2)
        assert facts.data["ssim"] == pytest.approx(ssim(given, shown.pixels), abs=1e-4)


def test_a_reconstruction_takes_the_mean_or_draws_with_its_seed(load: Load) -> None:
    jobs = [led("reconstruct", {"image": picture()}, **about) for about in ({}, {"seed": 9})]
    jobs += [led("reconstruct", {"image": picture()}, sample=True, seed=seed) for seed in (1, 1, 2)]
    shown = [outputs(load, "sd1", one)[0].pixels for one in jobs]
    assert np.array_equal(shown[0], shown[1])
    assert np.array_equal(shown[2], shown[3])
    assert len({pixels.tobytes() for pixels in shown}) == 3


def test_a_picture_that_is_too_large_names_its_field(load: Load) -> None:
    one = led("reconstruct", {"image": picture(1, 2100, 2100)})
    with pytest.raises(InvalidInputError) as caught:
        run(load("sd1"), one)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/image"}


@pytest.mark.parametrize("folder", FAMILIES)
def test_a_walk_begins_and_ends_with_the_pictures_of_its_stops(load: Load, folder: str) -> None:
    jobs = [
        walk(prompts=["a cat", "the big sea"], seed=7),
        walk(prompts=["a cat"], seeds=[7, 8]),
        walk(prompts=["a cat", "the big sea"], seeds=[7, 8, 9]),
    ]
    ends = [(("a cat", 7), ("the big sea", 7)), (("a cat", 7), ("a cat", 8)), (("a cat", 7), ("the big sea", 9))]
    for one, stops in zip(jobs, ends, strict=True):
        (film,) = outputs(load, folder, one)
        frames = frames_of(film)
        assert (type(film), len(frames), film.size) == (File, 5, (SIZE, SIZE))
        for frame, (prompt, seed) in zip((frames[0], frames[-1]), stops, strict=True):
            (drawn,) = run(load(folder), item(prompt, seed=seed))
            assert distance(frame, drawn.pixels) <= 2
        assert len({frame.tobytes() for frame in frames}) == 5


def test_the_same_walk_gives_the_same_bytes_in_each_format(load: Load) -> None:
    for name, kind in (("gif", "image/gif"), ("webp", "image/webp"), ("mp4", "video/mp4")):
        if name == "mp4":
            pytest.importorskip("av")
        one = walk(prompts=["a cat"], seeds=[1, 2], animation_format=name, there_and_back=True)
        first, second = (outputs(load, "sd1", one)[0] for _ in range(2))
        assert first.body == second.body
        assert (first.name, first.media_type) == (f"walk.{name}", kind)


@pytest.mark.parametrize("folder", FAMILIES)
def test_a_walk_through_pictures_begins_with_their_reconstructions(load: Load, folder: str) -> None:
    inputs = {"images/0": picture(1), "images/1": picture(2), "images/2": picture(3)}
    frames = frames_of(outputs(load, folder, walk(inputs))[0])
    for frame, look in zip(frames[::2], (1, 2, 3), strict=True):
        rebuilt = outputs(load, folder, led("reconstruct", {"image": picture(look)}))[0]
        assert distance(frame, rebuilt.pixels) <= 2
    assert len({frame.tobytes() for frame in frames}) == 5


def test_frames_are_made_in_portions_with_progress_over_all_of_them(load: Load) -> None:
    sizes: list[int] = []
    pipeline: Any = load("sd1")
    hook = pipeline._pipe.unet.register_forward_hook(lambda _net, _inputs, output: sizes.append(len(output[0]) // 2))
    context = Recorder(previews_wanted=True)
    outputs(load, "sd1", walk(prompts=["a cat"], seeds=[1, 2], frames=11), context=context)
    hook.remove()
    assert sizes == [8] * (len(sizes) // 2) + [3] * (len(sizes) // 2)
    assert context.steps == [(done, 6) for done in range(1, 7)]
    assert context.previews


def test_a_stop_is_heard_within_a_portion_and_between_two(load: Load) -> None:
    one = walk(prompts=["a cat"], seeds=[1, 2], frames=20)
    for at, last in ((1, 1), (3, 3)):
        context = Recorder()
        context.at_step = lambda done, at=at, context=context: (
            context.stopped_ids.add(one.job_id) if done == at else None
        )  # type: ignore[misc]
        with pytest.raises(StoppedError):
            outputs(load, "sd1", one, context=context)
        assert context.steps[-1][0] == last


def test_a_stopped_walk_leaves_the_others_to_go_on(load: Load) -> None:
    jobs = [walk(prompts=["a cat"], seeds=[1, 2]), walk(prompts=["a cat"], seeds=[3, 4])]
    context = Recorder(stopped_ids={jobs[0].job_id})
    assert [film.job_id for film in outputs(load, "sd1", *jobs, context=context)] == [jobs[1].job_id]


def test_samplers_that_go_on_drawing_draw_as_for_a_picture(load: Load) -> None:
    from models.params import SchedulerName

    pipeline: Any = load("sd1")
    with pytest.MonkeyPatch.context() as patch:
        fresh = pipeline._denoiser.samplers.fresh
        patch.setattr(pipeline._denoiser.samplers, "fresh", lambda _name: fresh(SchedulerName.EULER_ANCESTRAL))
        frames = frames_of(outputs(load, "sd1", walk(prompts=["a cat", "a dog"], seed=7))[0])
        (drawn,) = run(pipeline, item("a cat", seed=7))
    assert distance(frames[0], drawn.pixels) <= 2


def test_a_stop_that_is_too_long_names_its_place(load: Load) -> None:
    one = walk(prompts=["a cat", "z " * 40])
    with pytest.raises(InvalidInputError, match="tokens long") as caught:
        outputs(load, "sd1", one)
    assert caught.value.extra["field"] == "/params/prompts/1"


def test_style_by_words_keeps_the_shape_of_each_picture(load: Load) -> None:
    profile = CheckpointProfile(default_width=32, default_height=32, min_size=16, max_size=64, default_steps=3)
    broad, tall = (
        led("style_transfer", {"image": picture(1, *size)}, profile, prompt="a cat") for size in ((64, 32), (30, 60))
    )
    made = {shown.job_id: shown.pixels for shown in outputs(load, "sd1", broad, tall)}
    assert (made[broad.job_id].shape, made[tall.job_id].shape) == ((24, 48, 3), (48, 24, 3))


def test_style_by_words_is_image_to_image_that_never_leaves_the_picture_behind(load: Load) -> None:
    full, half = (
        led("style_transfer", {"image": picture()}, prompt="a cat", strength=strength) for strength in (1, 0.9)
    )
    again = led("image_to_image", {"image": picture()}, prompt="a cat", strength=0.75)
    assert full.params.steps() == again.params.steps()
    shown = [outputs(load, "sd1", one)[0].pixels for one in (full, again, half)]
    assert np.array_equal(shown[0], shown[1])
    least = led("style_transfer", {"image": picture()}, PROFILE, prompt="a cat", strength=0.01)
    assert outputs(load, "sd1", least)[0].pixels.std() > 1


@pytest.mark.parametrize("how", [{"num_inference_steps": 9}, {"num_inference_steps": 1}, {"guidance_scale": 9.0}])
def test_style_by_words_takes_its_steps_and_its_guidance(load: Load, how: dict[str, float]) -> None:
    shown = [
        outputs(load, "sd1", led("style_transfer", {"image": picture()}, prompt="a cat", **given))[0].pixels
        for given in ({}, how)
    ]
    assert not np.array_equal(*shown)
