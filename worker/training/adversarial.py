"""What the GANs' trainings share: differentiable augmentation, batches of real pictures, fresh batch statistics.

Augmentation after Zhao et al. 2020 (arXiv:2006.10738): real and made pictures go through the same kinds of change
before the discriminator sees them, so it cannot learn a small data set by heart, and no change leaks into the samples.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.training.placing import CPU, sent

FAIR: Final = 0.5

AnyGenerator = TypeVar("AnyGenerator", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far pictures may be changed. ``fill`` is what comes in from outside, and what a hole shows."""

    shift_pixels: int
    cutout_pixels: int
    fill: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


def augment(pictures: Tensor, policy: Augmentation, stream: torch.Generator) -> Tensor:
    """Random colour, shift and one erased square per picture, differentiably: ``(B, C, H, W)`` to the same."""
    count, channels, height, width = pictures.shape
    if policy.brightness or policy.contrast or policy.saturation:
        pictures = recolour(pictures, policy, stream)
    reach = policy.shift_pixels
    padded = F.pad(pictures, (reach, reach, reach, reach), value=policy.fill)
    device = pictures.device
    top, left = sent(torch.randint(0, 2 * reach + 1, (2, count, 1), generator=stream), device)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    every, channel = torch.arange(count, device=device), torch.arange(channels, device=device)
    rows, columns = (top + y)[:, None, :, None], (left + x)[:, None, None, :]
    shifted = padded[every[:, None, None, None], channel[:, None, None], rows, columns]
    centre = sent(torch.randint(0, height, (2, count, 1), generator=stream), device)
    half = policy.cutout_pixels // 2
    near_row = (y - centre[0]).abs() < half
    near_column = (x - centre[1]).abs() < half
    hole = (near_row[:, None, :, None] & near_column[:, None, None, :]).to(pictures.dtype)
    return shifted * (1 - hole) + policy.fill * hole


def recolour(pictures: Tensor, policy: Augmentation, stream: torch.Generator) -> Tensor:
    """Random brightness, saturation (three channels only) and contrast for each picture."""
    drawn = torch.rand(3, len(pictures), 1, 1, 1, generator=stream) * 2 - 1
    shift, spread, mix = sent(drawn, pictures.device).unbind(0)
    pictures = pictures + policy.brightness * shift
    if pictures.shape[1] > 1:
        grey = pictures.mean(dim=1, keepdim=True)
        pictures = grey + (pictures - grey) * (1 + policy.saturation * mix)
    middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (pictures - middle) * (1 + policy.contrast * spread)


def draw_real(
    pictures: Tensor, count: int, stream: torch.Generator, *, mirror: bool, device: torch.device = CPU
) -> tuple[Tensor, Tensor]:
    """A batch of real pictures, each mirrored by a coin's fall: ``(count, C, H, W)`` and their places ``(count,)``.

    The pictures lie with the CPU, and so do the places; the batch is sent to the device, in the pictures' precision.
    """
    index = torch.randint(0, len(pictures), (count,), generator=stream)
    coin = torch.rand(count, 1, 1, 1, generator=stream) < FAIR
    batch = sent(pictures[index], device).float()
    return (torch.where(sent(coin, device), batch.flip(3), batch) if mirror else batch), index


@torch.no_grad()
def calibrated(
    average: AnyGenerator, batches: int, seed: int, forward: Callable[[AnyGenerator, torch.Generator], object]
) -> AnyGenerator:
    """A copy whose batch statistics are measured afresh over ``batches`` calls (BigGAN's standing statistics)."""
    generator = copy.deepcopy(average)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    stream = torch.Generator().manual_seed(seed)
    generator.train()
    for _ in range(batches):
        forward(generator, stream)
    return generator.eval()
