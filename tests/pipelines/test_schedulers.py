"""Samplers by name: each does something of its own, keeps the trained process, and says what it cannot do."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from models.params import SchedulerName
from tests.pipelines.conftest import Folders, Load, item, open_checkpoint, run
from worker.devices import Device
from worker.pipelines.multistep import lms_coefficient

NAMES = list(SchedulerName)
WITHOUT_RESCALING = {SchedulerName.PNDM, SchedulerName.LMS, SchedulerName.HEUN, SchedulerName.DPMPP_2M_KARRAS}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_every_sampler_takes_any_number_of_steps(load: Load, name: SchedulerName, steps: int) -> None:
    job = item(scheduler=name, num_inference_steps=steps, width=16, height=16)
    first, second = (run(load("sd1"), job)[0].pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert first.std() > 1


def test_every_sampler_makes_a_picture_of_its_own(load: Load) -> None:
    pictures = {name: run(load("sd1"), item(scheduler=name, num_inference_steps=7))[0].pixels for name in NAMES}
    assert np.array_equal(pictures[SchedulerName.DEFAULT], pictures[SchedulerName.PNDM])  # as it was saved
    assert np.array_equal(
        pictures[SchedulerName.DDPM], pictures[SchedulerName.EULER_ANCESTRAL]
    )  # one thing, two papers
    assert len({pixels.tobytes() for pixels in pictures.values()}) == len(NAMES) - 2
    for name in (SchedulerName.LMS, SchedulerName.DPMPP_2M, SchedulerName.UNIPC):  # solvers of one equation agree
        difference = pictures[name].astype(int) - pictures[SchedulerName.HEUN]
        assert np.abs(difference).mean() < 5


@pytest.mark.parametrize("name", NAMES)
def test_zero_terminal_snr_is_kept_or_the_sampler_refused(load: Load, name: SchedulerName) -> None:
    pipeline: Any = load("sd2")
    if name in WITHOUT_RESCALING:
        with pytest.raises(InvalidInputError, match=r"does not fit this checkpoint; it takes: default, ddim, ddpm"):
            run(pipeline, item(scheduler=name))
        return
    config = pipeline._denoiser.samplers.fresh(name).config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
    assert config.timestep_spacing == "trailing"
    assert run(pipeline, item(scheduler=name, num_inference_steps=60, width=16, height=16))


@pytest.mark.parametrize("name", [SchedulerName.DDIM, SchedulerName.DDPM])
def test_latents_are_not_clipped_to_the_range_of_pixels(load: Load, name: SchedulerName) -> None:
    pipeline: Any = load("sd1")
    assert pipeline._denoiser.samplers.fresh(name).config.clip_sample is False


@pytest.mark.parametrize(
    ("family", "allowed"),
    [("sd3", "default, euler, heun"), ("flux", "default, euler"), ("flux_distilled", "default, euler")],
)
def test_flows_take_samplers_of_flows_only(load: Load, family: str, allowed: str) -> None:
    pipeline = load(family)
    for name in NAMES:
        job = item(scheduler=name)
        if name.value in allowed.split(", "):
            assert run(pipeline, job)
            continue
        with pytest.raises(InvalidInputError, match=f"{name.value} does not fit.*takes: {allowed}\\.") as caught:
            run(pipeline, job)
        assert caught.value.extra == {"job_id": str(job.job_id), "field": "/params/scheduler"}


def test_the_shift_of_a_flow_is_kept(load: Load) -> None:
    pipeline: Any = load("sd3")
    assert [
        pipeline._denoiser.samplers.fresh(name).config.shift
        for name in (NAMES[0], SchedulerName.EULER, SchedulerName.HEUN)
    ] == [3.0] * 3


@pytest.mark.parametrize(
    ("name", "steps"),
    [(SchedulerName.DDIM, 1000), (SchedulerName.DPMPP_2M, 901), (SchedulerName.UNIPC, 999), (NAMES[0], 1000)],
)
def test_more_steps_than_there_are_timesteps_are_refused(load: Load, name: SchedulerName, steps: int) -> None:
    with pytest.raises(InvalidInputError, match="takes at most"):
        run(load("sd1"), item(scheduler=name, num_inference_steps=steps))


def test_no_state_is_left_from_the_run_before(load: Load) -> None:
    pipeline = load("sd1")
    job = item(scheduler=SchedulerName.DPMPP_2M, num_inference_steps=4)
    alone = run(pipeline, job)[0].pixels
    run(pipeline, item(scheduler=SchedulerName.DPMPP_2M, num_inference_steps=9, width=64))
    assert np.array_equal(run(pipeline, job)[0].pixels, alone)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_coefficients_integrate_polynomials_of_their_order_exactly(order: int) -> None:
    sigmas, place = torch.tensor([14.6, 8.1, 3.9, 1.6, 0.4, 0.0]), 4
    weights = [lms_coefficient(sigmas, order, place, back) for back in range(order)]
    for degree in range(order):
        seen = [float(sigmas[place - back]) ** degree for back in range(order)]
        exact = -(float(sigmas[place]) ** (degree + 1)) / (degree + 1)
        assert sum(w * value for w, value in zip(weights, seen, strict=True)) == pytest.approx(exact, abs=1e-9)


def test_heun_is_not_offered_where_the_shift_follows_the_size(folders: Folders, tmp_path: Path, cpu: Device) -> None:
    folder = Path(shutil.copytree(folders("sd3"), tmp_path / "sd3"))
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_dynamic_shifting": True}))
    pipeline = open_checkpoint("sd3", folder, cpu)
    assert run(pipeline, item())
    with pytest.raises(InvalidInputError, match=r"takes: default, euler\."):
        run(pipeline, item(scheduler=SchedulerName.HEUN))
