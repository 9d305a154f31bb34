"""The noise schedule that every diffusion model here learns on, and what a step of v-prediction needs of it."""

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from worker.training.placing import sent


def scheduler(*, clip_sample: bool = False) -> DDIMScheduler:
    """Squared-cosine noise, v-prediction, and trailing steps that begin at pure noise (Lin et al., arXiv:2305.08891).

    The cosine schedule (Nichol and Dhariwal 2021, arXiv:2102.09672) ends at a signal-to-noise ratio of practically
    zero, so its betas need no rescaling. ``steps_offset`` is unused by trailing steps; 1 is what the pipeline expects.
    ``clip_sample`` is for models of pixels, which lie in [-1, 1]; latents have no bounds.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=clip_sample,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def noisy_times(count: int, total: int, bias: float, stream: torch.Generator) -> Tensor:
    """Random steps ``(count,)`` in [0, total), one from each of ``count`` slices of equal probability.

    Their density grows as ``t ** bias``. Above four fifths of the schedule the condition alone decides what appears
    (the noisy picture no longer tells), and that is what takes longest to learn.
    """
    places = (torch.arange(count) + torch.rand(count, generator=stream)) / count
    return (places ** (1 / (1 + bias)) * total).long().clamp_max(total - 1)


def noised(clean: Tensor, times: Tensor, alphas: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch at its noise levels, and the velocity to predict there (Salimans and Ho 2022, arXiv:2202.00512).

    ``clean`` is ``(B, C, H, W)`` on any device; with the CPU lie ``times`` ``(B,)`` and ``alphas``, the schedule's
    cumulative products ``(T,)``.
    """
    noise = sent(torch.randn(clean.shape, generator=stream), clean.device)
    signal = sent(alphas[times].sqrt()[:, None, None, None], clean.device)
    spread = sent((1 - alphas[times]).sqrt()[:, None, None, None], clean.device)
    return signal * clean + spread * noise, signal * noise - spread * clean
