"""What every family promises that denoises without words: diffusers' own pictures, any sampler, steps, previews."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import CheckpointUnavailableError, InvalidInputError, StoppedError
from models.params import SchedulerName
from tests.pipelines.conftest import Recorder, run
from tests.pipelines.small import NAMES, ddpm, dit, job, open_family, save
from worker.devices import Device
from worker.pipelines.base import Item, Pipeline, generator_for

DRAWN = {"class_diffusion": "class_to_image", "ddpm": "sample", "dit": "class_to_image"}
SIDE = 16
Open = Callable[[str], Pipeline]
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Of each family's small checkpoint, saved once."""
    made: dict[str, Path] = {}

    def saved(family: str) -> Path:
        if family not in made:
            made[family] = save(family, tmp_path_factory.mktemp(family))
        return made[family]

    return saved


@pytest.fixture(scope="module")
def opened(folder: Folder, cpu: Device) -> Open:
    loaded: dict[str, Pipeline] = {}

    def pipeline(family: str) -> Pipeline:
        if family not in loaded:
            loaded[family] = open_family(family, folder(family), cpu)
        return loaded[family]

    return pipeline


@pytest.fixture(params=DRAWN)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def drawing(family: str, **params: Any) -> Item:
    label = {} if family == "ddpm" else {"class_label": 1}
    return job(DRAWN[family], family, **({"num_inference_steps": 4} | label | params))


def alike(left: Any, right: Any, levels: int = 1) -> bool:
    return bool(np.abs(left.astype(int) - right).max() <= levels)


def plain(pipe: Any, **keywords: Any) -> Any:
    """What diffusers' own call makes of two pictures of seed 1, (B, H, W, 3) uint8."""
    pipe.set_progress_bar_config(disable=True)
    streams = [generator_for(1, index) for index in range(2)]
    pictures = pipe(generator=streams, num_inference_steps=4, output_type="np", **keywords).images
    return (pictures * 255).round().astype(np.uint8)


def test_ddpm_draws_what_diffusers_draws(tmp_path: Path, cpu: Device) -> None:
    from diffusers import DDPMPipeline

    for learned in (False, True):
        place = tmp_path / f"{learned}"
        ddpm(place, learned=learned)
        ours = run(open_family("ddpm", place, cpu), drawing("ddpm", num_images=2))
        theirs = plain(DDPMPipeline.from_pretrained(place), batch_size=2)
        assert all(np.array_equal(left.pixels, right) for left, right in zip(ours, theirs, strict=True))


def test_a_learned_variance_is_left_out_by_samplers_that_read_none(tmp_path: Path, cpu: Device) -> None:
    ddpm(tmp_path, learned=True)
    pipeline = open_family("ddpm", tmp_path, cpu)
    for name in SchedulerName:
        assert run(pipeline, drawing("ddpm", scheduler=name))[0].pixels.std() > 1


def test_ddim_folders_draw_what_diffusers_draws(tmp_path: Path, cpu: Device) -> None:
    from diffusers import DDIMPipeline

    ddpm(tmp_path, implicit=True)
    ours = run(open_family("ddpm", tmp_path, cpu), drawing("ddpm", num_images=2))
    theirs = plain(DDIMPipeline.from_pretrained(tmp_path), batch_size=2)
    assert all(np.array_equal(left.pixels, right) for left, right in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("learned", [False, True])
def test_dit_draws_what_diffusers_draws(tmp_path: Path, cpu: Device, guidance: float, learned: bool) -> None:
    from diffusers import DiTPipeline

    dit(tmp_path, learned=learned)
    ours = run(open_family("dit", tmp_path, cpu), drawing("dit", num_images=2, guidance_scale=guidance))
    pipe = DiTPipeline.from_pretrained(tmp_path)
    theirs = plain(pipe, class_labels=pipe.get_label_ids(["dog", "dog"]), guidance_scale=guidance)
    for left, right in zip(ours, theirs, strict=True):
        assert alike(left.pixels, right)


def test_dit_of_few_classes_guides_away_from_none(tmp_path: Path, cpu: Device) -> None:
    dit(tmp_path, classes=3)
    pipeline = open_family("dit", tmp_path, cpu)
    seen: list[list[int]] = []
    hook = pipeline._transformer.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda _net, _args, keywords: seen.append(keywords["class_labels"].tolist()), with_kwargs=True
    )
    run(pipeline, drawing("dit", num_inference_steps=1), drawing("dit", num_inference_steps=1, class_label="bird"))
    hook.remove()
    assert seen == [[1, 2, 3, 3]]


def test_guidance_moves_away_from_no_class(opened: Open) -> None:
    for family in ("class_diffusion", "dit"):
        pictures = {
            guidance: run(opened(family), drawing(family, guidance_scale=guidance))[0].pixels.tobytes()
            for guidance in (0.0, 1.0, 2.0, 6.0)
        }
        assert pictures[0.0] == pictures[1.0]
        assert len(set(pictures.values())) == 3


def test_classes_and_seeds_make_pictures_of_their_own(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=1), drawing(family, seed=2)]
    if family != "ddpm":
        jobs.append(drawing(family, seed=1, class_label="cat"))
    made = run(opened(family), *jobs)
    assert len({picture.pixels.tobytes() for picture in made}) == len(jobs)
    for picture, item in zip(made, jobs, strict=True):
        assert (picture.job_id, picture.index, picture.seed) == (item.job_id, 0, item.seed)
        assert (picture.pixels.shape, picture.pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)
        assert alike(picture.pixels, run(opened(family), item)[0].pixels, levels=2)


def test_the_same_batch_gives_the_same_bytes(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=seed, scheduler=SchedulerName.DDPM, num_images=2) for seed in (1, 2)]
    first, second = (run(opened(family), *jobs) for _ in range(2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    assert len({picture.pixels.tobytes() for picture in first}) == 4


@pytest.mark.parametrize("name", list(SchedulerName))
def test_every_sampler_reports_the_steps_of_the_request(opened: Open, family: str, name: SchedulerName) -> None:
    context = Recorder()
    if (family, name) == ("class_diffusion", SchedulerName.DPMPP_2M_KARRAS):  # it was trained on the cosine schedule
        with pytest.raises(InvalidInputError, match="dpmpp_2m_karras does not fit"):
            run(opened(family), drawing(family, scheduler=name))
        return
    (picture,) = run(opened(family), drawing(family, scheduler=name, num_inference_steps=5), context=context)
    assert context.steps == [(done, 5) for done in range(1, 6)]
    assert picture.pixels.std() > 1


def test_a_sampler_that_does_not_fit_is_refused(tmp_path: Path, folder: Folder, cpu: Device) -> None:
    copy = Path(shutil.copytree(folder("ddpm"), tmp_path / "copy"))
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rescale_betas_zero_snr": True}))
    item = drawing("ddpm", scheduler=SchedulerName.HEUN)
    with pytest.raises(InvalidInputError, match="heun does not fit") as caught:
        run(open_family("ddpm", copy, cpu), item)
    assert caught.value.extra == {"job_id": str(item.job_id), "field": "/params/scheduler"}


def test_a_class_that_the_net_lacks_is_refused_by_item(opened: Open) -> None:
    for family in ("class_diffusion", "dit"):
        bad = drawing(family)
        object.__setattr__(bad, "params", bad.params.model_copy(update={"class_label": len(NAMES)}))
        with pytest.raises(InvalidInputError, match="has no class") as caught:
            run(opened(family), drawing(family), bad)
        assert caught.value.extra == {"job_id": str(bad.job_id), "field": "/params/class_label"}


@pytest.mark.parametrize("at", [1, 3])
def test_a_stop_during_a_step_ends_the_batch_within_that_step(opened: Open, family: str, at: int) -> None:
    item, context = drawing(family, num_inference_steps=6), Recorder()
    context.at_step = lambda done: context.stopped_ids.add(item.job_id) if done == at else None
    with pytest.raises(StoppedError):
        run(opened(family), item, context=context)
    assert context.steps[-1] == (at, 6)


def test_what_was_stopped_is_skipped(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=1), drawing(family, seed=2)]
    left = run(opened(family), *jobs, context=Recorder(stopped_ids={jobs[0].job_id}))
    assert [picture.job_id for picture in left] == [jobs[1].job_id]


def test_previews_show_what_is_foreseen_of_each_item(opened: Open, family: str) -> None:
    jobs = [drawing(family, seed=1, num_images=2), drawing(family, seed=2, num_images=2)]
    context = Recorder(previews_wanted=True)
    made = run(opened(family), *jobs, context=context)
    assert [job_id for job_id, _ in context.previews] == [item.job_id for item in jobs] * 4
    first = made[0].pixels.astype(int)
    misses = [np.abs(pixels - first).mean() for _, pixels in context.previews[::2]]
    assert misses[-1] < misses[0]
    assert misses[-1] < 3


def test_slimmer_batches_make_the_same_pictures_and_count_on(folder: Folder, opened: Open, cpu: Device) -> None:
    pipeline = open_family("ddpm", folder("ddpm"), cpu)
    while pipeline._most_rows > 2:
        assert pipeline.slim()
    context = Recorder()
    slim = run(pipeline, drawing("ddpm", num_images=3), context=context)
    assert context.steps == [(done, 8) for done in range(1, 9)]
    for left, right in zip(slim, run(opened("ddpm"), drawing("ddpm", num_images=3)), strict=True):
        assert alike(left.pixels, right.pixels)
    assert pipeline.slim()
    assert not pipeline.slim()


def test_a_walk_leads_from_the_picture_of_one_seed_to_that_of_the_next(opened: Open, family: str) -> None:
    from tests.pipelines.test_one_pass import frames_of

    label = {} if family == "ddpm" else {"class_label": 1}
    params = {"seeds": [3, 4], "frames": 4, "there_and_back": False, "animation_format": "webp"}
    item = job("interpolate", family, num_inference_steps=4, **params, **label)
    frames = frames_of(run(opened(family), item))
    for frame, seed in ((frames[0], 3), (frames[-1], 4)):
        assert alike(frame, run(opened(family), drawing(family, seed=seed, scheduler="ddim"))[0].pixels, levels=2)
    assert len({frame.tobytes() for frame in frames}) == 4


def test_more_steps_than_there_are_timesteps_are_refused(opened: Open) -> None:
    item = job("interpolate", "ddpm", seeds=[1, 2], num_inference_steps=1)
    object.__setattr__(item, "params", item.params.model_copy(update={"num_inference_steps": 1001}))
    with pytest.raises(InvalidInputError, match="takes at most") as caught:
        run(opened("ddpm"), item)
    assert caught.value.extra["field"] == "/params/num_inference_steps"


def test_knows_its_memory(opened: Open, family: str) -> None:
    pipeline: Any = opened(family)
    weights = sum(parameter.numel() * 4 for module in pipeline._modules for parameter in module.parameters())
    assert weights <= pipeline.memory_bytes < weights * 1.2


def test_nets_compute_in_the_precision_of_the_device(folder: Folder, opened: Open, family: str) -> None:
    half = Device(torch.device("cpu"), torch.bfloat16, "cpu", 1 << 33)
    pipeline: Any = open_family(family, folder(family), half)
    assert {parameter.dtype for module in pipeline._modules for parameter in module.parameters()} == {torch.bfloat16}
    (rough,) = run(pipeline, drawing(family))
    assert np.abs(rough.pixels.astype(int) - run(opened(family), drawing(family))[0].pixels).mean() < 4


def test_a_folder_of_another_family_is_refused(folder: Folder, tmp_path: Path, cpu: Device, family: str) -> None:
    other = "ddpm" if family != "ddpm" else "dit"
    for place in (folder(other), tmp_path):
        with pytest.raises(CheckpointUnavailableError):
            open_family(family, place, cpu)


def test_code_that_is_not_diffusers_own_is_refused(folder: Folder, tmp_path: Path, cpu: Device) -> None:
    copy = Path(shutil.copytree(folder("ddpm"), tmp_path / "copy"))
    index = copy / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"unet": ["my_code", "UNet2DModel"]}))
    with pytest.raises(CheckpointUnavailableError, match="code of 'my_code'"):
        open_family("ddpm", copy, cpu)


def test_a_dit_without_names_and_an_unconditional_family_with_classes_are_refused(
    folder: Folder, tmp_path: Path, cpu: Device
) -> None:
    with pytest.raises(CheckpointUnavailableError, match="0 class names"):
        open_family("dit", folder("dit"), cpu, class_names=())
    copy = Path(shutil.copytree(folder("class_diffusion"), tmp_path / "copy"))
    index = copy / "model_index.json"
    index.write_text(
        json.dumps(
            {"_class_name": "DDIMPipeline"}
            | json.loads(index.read_text())
            | {"_class_name": "DDIMPipeline", "class_names": None}
        )
    )
    with pytest.raises(CheckpointUnavailableError, match="without classes"):
        open_family("ddpm", copy, cpu)
