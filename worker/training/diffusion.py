"""Diffusion in pixel space, of classes or of nothing in particular: the UNet, its training, and drawing from it.

The task takes any pictures; the commands ``class_diffusion`` and ``ddpm`` give it emoji. Denoising diffusion after Ho
et al. 2020 (arXiv:2006.11239), with v-prediction on the cosine schedule.
"""

import copy
from dataclasses import dataclass, field
from typing import Final

import torch
from diffusers import UNet2DModel
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.class_diffusion import ClassDiffusion
from worker.training.adversarial import draw_real
from worker.training.batches import to_pictures
from worker.training.loop import average, channels_last, descend, rng_of
from worker.training.muon import Rates, optimizers_of
from worker.training.placing import CPU, figures_of, sent
from worker.training.schedule import noised, noisy_times, scheduler
from worker.training.sheets import sheet

OUTER_LAYERS: Final = ("conv_in", "conv_out", "class_embedding")
SHEET_COLUMNS: Final = 12


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """Hyper-parameters of the UNet, its training and its sample sheets."""

    seed: int = 1
    batch: int = 48
    channels: tuple[int, ...] = (32, 64, 88)
    layers_per_block: int = 1
    attention_levels: int = 1
    head_dim: int = 16
    norm_groups: int = 8
    rates: Rates = field(default_factory=lambda: Rates(muon=3e-3, adamw=1.5e-3))
    clip: float = 1.0
    time_bias: float = 0.5
    drop_rate: float = 0.1
    decay: float = 0.999
    mirror: bool = True
    sheet_steps: int = 25
    guidance: float = 2.0

    def __post_init__(self) -> None:
        if any(width % self.norm_groups for width in self.channels):
            raise ValueError(f"widths {self.channels} are no multiples of {self.norm_groups} groups")


def build_unet(settings: DiffusionSettings, side: int, channels: int, num_classes: int) -> UNet2DModel:
    """A UNet over pixels with attention at its smallest sides; ``num_classes`` 0 makes it unconditional.

    Raises:
        ValueError: ``side`` cannot be halved as often as there are levels.
    """
    levels = len(settings.channels)
    if side % (1 << (levels - 1)):
        raise ValueError(f"{side} px cannot be halved {levels - 1} times")
    attends = [level >= levels - settings.attention_levels for level in range(levels)]
    return UNet2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        down_block_types=tuple("AttnDownBlock2D" if yes else "DownBlock2D" for yes in attends),
        up_block_types=tuple("AttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)),
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        attention_head_dim=settings.head_dim,
        norm_num_groups=settings.norm_groups,
        num_class_embeds=num_classes + 1 if num_classes else None,
    )


class DiffusionTask:
    """The UNet, its average and its optimizers."""

    def __init__(
        self,
        settings: DiffusionSettings,
        pictures: Tensor,
        labels: Tensor | None,
        class_names: tuple[str, ...] = (),
        device: torch.device = CPU,
    ) -> None:
        """``pictures``: ``(N, C, side, side)`` in [-1, 1]; ``labels``: ``(N,)``, or ``None`` to learn no classes.

        Both lie with the CPU.
        """
        if (labels is None) != (not class_names):
            raise ValueError("labels and class names come together")
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            raise ValueError(
                f"labels from {int(labels.min())} to {int(labels.max())} for {len(class_names)} class names"
            )
        self.settings, self.device = settings, device
        self.pictures, self.labels, self.class_names = pictures, labels, class_names
        torch.manual_seed(settings.seed)
        unet = build_unet(settings, pictures.shape[-1], pictures.shape[1], len(class_names))
        self.unet = channels_last(unet).to(device)
        self.average = copy.deepcopy(self.unet).eval().requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        self.averages: dict[str, nn.Module] = {"unet": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.unet], OUTER_LAYERS, settings.rates)
        self.alphas = scheduler().alphas_cumprod

    def conditions(self, index: Tensor, stream: torch.Generator) -> Tensor | None:
        """The classes of some pictures ``(B,)``; one in ten becomes "none"."""
        if self.labels is None:
            return None
        dropped = torch.rand(len(index), generator=stream) < self.settings.drop_rate
        return sent(self.labels[index].masked_fill(dropped, len(self.class_names)), self.device)

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One v-prediction step on one batch of noised pictures."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        clean, index = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror, device=self.device)
        labels = self.conditions(index, stream)
        times = noisy_times(settings.batch, len(self.alphas), settings.time_bias, stream)
        noisy, velocity = noised(clean, times, self.alphas, stream)
        with torch.autocast(self.device.type, torch.bfloat16):
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            predicted = self.unet(noisy, sent(times, self.device), labels).sample
        loss = F.mse_loss(predicted.float(), velocity)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.unet.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.unet, self.average, step, settings.decay)
        return figures_of(loss=loss, norm=norm)

    def finished(self) -> ClassDiffusion:
        """A copy of the averaged UNet, with the CPU, its scheduler and classes, of a class-conditional training."""
        return ClassDiffusion(copy.deepcopy(self.average).cpu(), scheduler(clip_sample=True), self.class_names)

    @torch.no_grad()
    def draw(self, labels: Tensor, seed: int) -> Tensor:
        """Pictures of some classes ``(B,)``: ``(B, C, side, side)`` in [-1, 1]; without classes only ``B`` counts."""
        stepper = scheduler(clip_sample=True)
        stepper.set_timesteps(self.settings.sheet_steps)
        shape = (len(labels), *self.pictures.shape[1:])
        noisy = sent(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), self.device)
        labels = sent(labels, self.device)
        model = ClassDiffusion(self.average, stepper, self.class_names) if self.class_names else None
        for time in stepper.timesteps:
            with torch.autocast(self.device.type, torch.bfloat16):
                if model:
                    velocity = model.velocity(noisy, time, labels, self.settings.guidance)
                else:
                    velocity = self.average(noisy, time).sample
            noisy = stepper.step(velocity.float(), time, noisy).prev_sample
        return noisy.clamp(-1, 1)

    def sheet(self) -> Image.Image:
        """Four samples of each class, or 48 of whatever comes."""
        classes = max(1, len(self.class_names))
        labels = torch.arange(classes).repeat_interleave(4 if self.class_names else 4 * SHEET_COLUMNS)
        return sheet(to_pictures(self.draw(labels, seed=0)), SHEET_COLUMNS, zoom=3)
