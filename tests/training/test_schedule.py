"""The noise schedule: what a step of v-prediction learns leads back to the picture."""

import pytest
import torch

from worker.training.schedule import noised, scheduler


def test_the_velocity_and_the_noised_picture_give_the_picture_back() -> None:
    alphas, stream = scheduler().alphas_cumprod, torch.Generator().manual_seed(0)
    clean, times = torch.rand(4, 3, 8, 8, generator=stream) * 2 - 1, torch.tensor([0, 300, 700, 950])
    noisy, velocity = noised(clean, times, alphas, stream)
    stepper = scheduler()
    stepper.set_timesteps(1000)
    for row, time in enumerate(times.tolist()):
        told = stepper.step(velocity[row], time, noisy[row]).pred_original_sample
        assert torch.allclose(told, clean[row], atol=1e-4)
    assert (noisy[0] - clean[0]).abs().max() < 0.3
    assert torch.corrcoef(torch.stack([noisy[3].flatten(), clean[3].flatten()]))[0, 1].abs() < 0.5


@pytest.mark.parametrize("clip", [True, False])
def test_pixels_are_kept_within_their_range_and_latents_are_not(*, clip: bool) -> None:
    stepper = scheduler(clip_sample=clip)
    stepper.set_timesteps(2)
    told = stepper.step(torch.full((1,), -9.0), stepper.timesteps[0], torch.zeros(1)).pred_original_sample
    assert (told.abs().max() <= 1) == clip
