"""Image to image, edit and control: diffusers' own bytes, one checkpoint's weights, batches, seeds."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError, ValidationFailedError
from models.params import SchedulerName
from models.params.edits import EDIT_STRENGTH
from tests.pipelines.conftest import Load, Recorder, item, run
from tests.pipelines.diffusers.led import PROFILE, distance, led, picture
from worker.media.edges import canny
from worker.pipelines.base import Blob, Item, generator_for
from worker.pipelines.diffusers.fitting import to_tensor
from worker.pipelines.diffusers.loading import modules_of

# diffusers' own ControlNet of Flux uses it
pytestmark = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")
NOISE = 2
"""Levels of 255 by which a picture may differ between batches of other shapes."""
CASES = [
    ("image_to_image", "sd1"),
    ("image_to_image", "sd2"),
    ("image_to_image", "sdxl"),
    ("image_to_image", "sd3"),
    ("image_to_image", "flux"),
    ("image_to_image", "flux_distilled"),
    ("image_to_image", "wide"),
    ("edit", "pix2pix"),
    ("edit", "pix2pix_xl"),
    ("edit", "kontext"),
    ("control", "controlnet"),
    ("control", "controlnet_xl"),
    ("control", "controlnet_sd3"),
    ("control", "controlnet_flux"),
]


@pytest.fixture(params=CASES, ids=[f"{task}-{folder}" for task, folder in CASES])
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    task, folder = request.param
    return str(task), str(folder)


def job(task: str, seed: int = 1, look: int = 1, **params: Any) -> Item:
    """In three steps from a picture of that look."""
    return led(task, {"image": picture(look)}, **({"prompt": "a cat", "seed": seed} | params))


@pytest.mark.parametrize("case", [case for case in CASES if case[1] != "controlnet_sd3"])  # whose own draws come below
def test_gives_the_bytes_of_the_plain_diffusers_call(load: Load, case: tuple[str, str]) -> None:
    task, folder = case
    pipeline: Any = load(folder)
    pipe = pipeline._denoiser.sisters.for_task(task).pipe
    pictures = to_tensor([picture(1), picture(2)])
    beside: dict[str, Any] = {
        "image_to_image": {"image": pictures, "strength": 0.7},
        "edit": {"image": pictures} if folder == "kontext" else {"image": pictures, "image_guidance_scale": 1.5},
        "control": {"image": to_tensor([canny(picture(1)), canny(picture(2))])},
    }[task]
    if folder == "controlnet_flux":
        beside = {"control_image": beside["image"]}
    if folder == "kontext":
        beside |= {"max_area": 32 * 32, "_auto_resize": False}
    if "width" in inspect.signature(pipe.__call__).parameters:
        beside |= {"width": 32, "height": 32}
    guidance = "true_cfg_scale" if folder in {"flux", "kontext", "controlnet_flux"} else "guidance_scale"
    with torch.inference_mode():
        plain = pipe(
            prompt=["a cat", "a dog"],
            num_inference_steps=3,
            generator=[generator_for(seed, 0) for seed in (5, 6)],
            output_type="np",
            **{guidance: 4.0},
            **beside,
        ).images
    expected = (plain * 255).round().astype("uint8")
    strength = {"strength": 0.7} if task == "image_to_image" else {}
    jobs = [job(task, 5, 1, **strength), job(task, 6, 2, prompt="a dog", **strength)]
    made = run(pipeline, *jobs)
    assert [shown.job_id for shown in made] == [one.job_id for one in jobs]
    assert all(np.array_equal(shown.pixels, other) for shown, other in zip(made, expected, strict=True))


def test_what_a_class_draws_without_a_generator_is_drawn_by_row(load: Load) -> None:
    pipeline: Any = load("controlnet_sd3")
    made = run(pipeline, job("control", 5, 1), job("control", 6, 2))
    for shown, seed, look in zip(made, (5, 6), (1, 2), strict=True):
        with torch.inference_mode(), torch.random.fork_rng([]):
            torch.manual_seed(generator_for(seed, 0).initial_seed())
            plain = pipeline._pipe(
                prompt="a cat",
                control_image=to_tensor([canny(picture(look))]),
                width=32,
                height=32,
                num_inference_steps=3,
                guidance_scale=4.0,
                generator=[generator_for(seed, 0)],
                output_type="np",
            ).images[0]
        assert np.array_equal(shown.pixels, (plain * 255).round().astype("uint8"))


def test_one_batch_gives_the_same_bytes_twice_and_another_seed_others(load: Load, case: tuple[str, str]) -> None:
    task, folder = case
    first, second, other = (run(load(folder), job(task, seed), job(task, 9))[0].pixels for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert distance(first, other) > NOISE


def test_each_row_of_a_batch_goes_with_its_own_picture(load: Load, case: tuple[str, str]) -> None:
    task, folder = case
    pipeline = load(folder)
    jobs = [job(task, 1, 1, num_images=2), job(task, 2, 2, num_images=2)]
    together = run(pipeline, *jobs)
    assert [(shown.job_id, shown.index) for shown in together] == [(one.job_id, at) for one in jobs for at in range(2)]
    alone = run(pipeline, jobs[1])
    assert all(distance(a.pixels, b.pixels) <= NOISE for a, b in zip(together[2:], alone, strict=True))
    assert distance(together[2].pixels, together[3].pixels) > NOISE  # the second picture has a seed of its own
    other = run(pipeline, job(task, 2, 1, num_images=2))
    assert not np.array_equal(other[0].pixels, alone[0].pixels)  # and the input counts


def test_steps_are_reported_and_a_stop_is_heard(load: Load, case: tuple[str, str]) -> None:
    task, folder = case
    one, context = job(task, num_inference_steps=6), Recorder(previews_wanted=True)
    run(load(folder), one, context=context)
    steps = context.steps[-1][1]
    assert context.steps == [(done, steps) for done in range(1, steps + 1)]
    assert {shown.shape[-1] for _, shown in context.previews} == {3}
    stopping = Recorder()
    stopping.at_step = lambda _: stopping.stopped_ids.add(one.job_id)
    with pytest.raises(StoppedError):
        run(load(folder), one, context=stopping)
    assert stopping.steps == [(1, steps)]


@pytest.mark.parametrize("folder", ["sd1", "sdxl", "sd3", "flux"])
def test_every_task_of_a_checkpoint_runs_on_one_copy_of_its_weights(load: Load, folder: str) -> None:
    pipeline: Any = load(folder)
    sisters = pipeline._denoiser.sisters
    before = pipeline.memory_bytes
    nets = [modules_of(sisters.for_task(task).pipe) for task in ("text_to_image", "image_to_image", "inpaint")]
    assert len({type(sisters.for_task(task).pipe) for task in ("text_to_image", "image_to_image", "inpaint")}) == 3
    for other in nets[1:]:
        assert {name: id(net) for name, net in other.items()} == {name: id(net) for name, net in nets[0].items()}
    assert pipeline.memory_bytes == before


def test_strength_decides_how_much_is_left_of_the_picture(load: Load) -> None:
    jobs = [job("image_to_image", strength=strength, num_inference_steps=20) for strength in (0.05, 0.5, 1.0)]
    away = [np.abs(run(load("sd1"), one)[0].pixels.astype(int) - picture(1)).mean() for one in jobs]
    (rebuilt,) = (
        shown for shown in run(load("sd1"), led("reconstruct", {"image": picture(1)})) if hasattr(shown, "pixels")
    )
    untouched = np.abs(rebuilt.pixels.astype(int) - picture(1)).mean()
    assert abs(away[0] - untouched) < abs(away[1] - untouched)
    context = Recorder()
    run(load("sd1"), jobs[1], context=context)
    assert context.steps[-1] == (10, 10)


@pytest.mark.parametrize("scheduler", [name for name in SchedulerName if name is not SchedulerName.DEFAULT])
def test_every_sampler_starts_from_a_picture_too(load: Load, scheduler: SchedulerName) -> None:
    one = job("image_to_image", scheduler=scheduler, num_inference_steps=5, strength=0.6)
    first, second = (run(load("sd1"), one)[0].pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert first.std() > 1


def test_a_strength_that_makes_no_step_is_refused_at_submit() -> None:
    with pytest.raises(ValidationFailedError) as caught:
        job("image_to_image", strength=0.3, num_inference_steps=3)
    assert [(problem.pointer, problem.code) for problem in caught.value.fields] == [("/params/strength", "too_weak")]


def test_pictures_of_other_sizes_are_brought_to_the_one_that_is_asked_for(load: Load) -> None:
    jobs = [
        led("image_to_image", {"image": picture(1, 90, 40)}, prompt="a cat", fit=fit)
        for fit in ("cover", "contain", "stretch")
    ]
    shown = [run(load("sd1"), one)[0].pixels for one in jobs]
    assert {pixels.shape for pixels in shown} == {(32, 32, 3)}
    assert len({pixels.tobytes() for pixels in shown}) == 3


def test_the_map_of_a_control_job_counts_and_so_does_its_scale(load: Load) -> None:
    jobs = [
        job("control"),
        job("control", control="depth"),
        job("control", control="none"),
        job("control", control_scale=0.2),
    ]
    assert len({run(load("controlnet"), one)[0].pixels.tobytes() for one in jobs}) == 4


@pytest.mark.parametrize("folder", ["sd1", "sdxl", "sd3", "flux", "wide"])
def test_a_checkpoint_that_follows_no_instruction_edits_by_making_anew(load: Load, folder: str) -> None:
    profile = PROFILE.model_copy(update={"edits_by_strength": True})

    def made(task: str, **params: Any) -> bytes:
        one = led(task, {"image": picture()}, profile=profile, prompt="a cat", num_inference_steps=5, **params)
        return bytes(run(load(folder), one)[0].pixels.tobytes())

    assert made("edit", strength=0.6) == made("image_to_image", strength=0.6)
    assert made("edit") == made("image_to_image", strength=EDIT_STRENGTH)
    assert made("edit") != made("edit", strength=0.8)


def test_the_map_comes_too_where_it_is_asked_for(load: Load) -> None:
    asked, silent = job("control", return_map=True, num_images=2), job("control", seed=2)
    made = run(load("controlnet"), asked, silent)
    assert {(shown.job_id, shown.index) for shown in made} == {
        (asked.job_id, 0),
        (asked.job_id, 1),
        (asked.job_id, 2),
        (silent.job_id, 0),
    }
    (shown,) = (shown for shown in made if shown.index == 2)
    assert np.array_equal(shown.pixels, canny(picture(1)))
    assert asked.params.outputs() == 3


def test_an_edit_without_guidance_and_one_that_keeps_closer_differ(load: Load) -> None:
    jobs = [job("edit"), job("edit", image_guidance_scale=9), job("edit", guidance_scale=1)]
    assert len({run(load("pix2pix"), one)[0].pixels.tobytes() for one in jobs}) == 3


def test_kontext_draws_from_words_too_at_the_size_that_is_asked_for(load: Load) -> None:
    assert run(load("kontext"), item(width=48, height=32))[0].pixels.shape == (32, 48, 3)


def test_a_task_that_the_folders_class_does_not_do_is_told(load: Load) -> None:
    with pytest.raises(
        CheckpointUnavailableError, match=r"InstructPix2PixPipeline does not do control; it does: edit\."
    ):
        run(load("pix2pix"), job("control"))
    with pytest.raises(CheckpointUnavailableError, match="does not do text_to_image"):
        run(load("inpaint"), item())


def test_what_is_no_picture_names_its_job_and_field(load: Load) -> None:
    one = job("image_to_image")
    broken = Item(one.job_id, one.task, one.params, {"image": Blob(b"no picture", "image/png")})
    with pytest.raises(InvalidInputError) as caught:
        run(load("sd1"), job("image_to_image"), broken)
    assert caught.value.extra == {"job_id": str(one.job_id), "field": "/params/image"}
