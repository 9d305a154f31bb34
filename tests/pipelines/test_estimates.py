"""What a sampler foresees, with a net that always knows the answer: then every estimate must be that answer."""

from typing import Any

import pytest
import torch

from models.params import SchedulerName
from tests.pipelines.conftest import Load, Recorder, item, run
from worker.pipelines.estimates import EstimateKeeper

WITHOUT_ESTIMATE = {SchedulerName.PNDM, SchedulerName.DEFAULT}  # the tiny SD 1.x is saved with PNDM
CLEAN = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", [name for name in SchedulerName if name not in WITHOUT_ESTIMATE])
def test_samplers_of_noise_foresee_what_the_net_knows(load: Load, name: SchedulerName) -> None:
    pipeline: Any = load("sd1")
    sampler = pipeline._denoiser.samplers.fresh(name)
    for estimate in denoised(sampler, lambda noisy, signal, noise: (noisy - signal * CLEAN) / noise):
        assert torch.allclose(estimate, CLEAN, atol=2e-2)  # the Karras ramp rounds its timesteps


def test_v_prediction_is_understood(load: Load) -> None:
    pipeline: Any = load("sd2")
    for name in (SchedulerName.DDIM, SchedulerName.EULER, SchedulerName.DPMPP_2M):
        sampler = pipeline._denoiser.samplers.fresh(name)
        for estimate in denoised(sampler, lambda noisy, signal, noise: (signal * noisy - CLEAN) / noise):
            assert torch.allclose(estimate, CLEAN, atol=2e-2)


def denoised(sampler: Any, net: Any) -> list[Any]:
    """Denoise with a net of (noisy, signal share, noise share); the estimates of all steps."""
    keeper = EstimateKeeper(sampler)
    sampler.set_timesteps(6)
    noisy = torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(1)) * sampler.init_noise_sigma
    estimates = []
    for timestep in sampler.timesteps:
        scaled = sampler.scale_model_input(noisy, timestep)
        place = min(int(timestep), len(sampler.alphas_cumprod) - 1)
        share = sampler.alphas_cumprod[place].clamp(min=1e-8)
        if timestep != int(timestep):  # between two trained timesteps: by its sigma
            sigma = sampler.sigmas[sampler.step_index]
            share = 1 / (sigma**2 + 1)
        noisy = sampler.step(net(scaled, share**0.5, (1 - share) ** 0.5), timestep, noisy, return_dict=False)[0]
        estimates.append(keeper.estimate())
    keeper.close()
    assert keeper.estimate() is None
    return estimates


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_flows_foresee_what_the_net_knows(load: Load, family: str) -> None:
    pipeline: Any = load(family)
    sampler = pipeline._denoiser.samplers.fresh(SchedulerName.EULER)
    keeper = EstimateKeeper(sampler)
    sampler.set_timesteps(6)
    noise = torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(1))
    noisy = noise
    for timestep in sampler.timesteps:
        noisy = sampler.step(noise - CLEAN, timestep, noisy, return_dict=False)[0]
        assert torch.allclose(keeper.estimate(), CLEAN, atol=1e-4)


def test_previews_are_made_from_estimates(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline: Any = load("sd2")
    given: list[bool] = []
    monkeypatch.setattr(pipeline._denoiser, "previewer", lambda *arguments: given.append(arguments[3] is not None))
    run(pipeline, item(), context=Recorder(previews_wanted=True))
    assert given == [True] * 3
    assert "step" not in vars(pipeline._pipe.scheduler)
