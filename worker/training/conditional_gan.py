"""Train the class-conditional GAN, on any pictures with labels; from the command line, on animal silhouettes.

Hinge loss (Lim and Ye 2017, arXiv:1705.02894) with differentiable augmentation (Zhao et al. 2020, arXiv:2006.10738);
the generator that is kept is an exponential moving average.
"""

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.conditional_gan import FIRST_SIDE, ConditionalGenerator, GeneratorConfig, ProjectionDiscriminator
from worker.training import silhouettes
from worker.training.adversarial import Augmentation, augment, calibrated, draw_real
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.placing import CPU, figures_of, sent
from worker.training.sheets import sheet


@dataclass(frozen=True, slots=True)
class GanSettings:
    """Hyper-parameters of the GAN."""

    seed: int = 1
    batch: int = 64
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.0, 0.99)
    decay: float = 0.999
    latent_dim: int = 64
    class_dim: int = 32
    widths: tuple[int, ...] = (128, 96, 64, 32)
    shift_pixels: int = 3
    cutout_pixels: int = 10
    fill: float = -1.0
    mirror: bool = True
    calibration_batches: int = 40


class GanTask:
    """Generator, discriminator, the generator's average, and their optimizers."""

    def __init__(
        self,
        settings: GanSettings,
        pictures: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        device: torch.device = CPU,
    ) -> None:
        """``pictures``: ``(N, C, side, side)`` in [-1, 1], C 1 or 3; ``labels``: ``(N,)``, places in ``class_names``.

        The side is a power of two from 8 px on. Both lie with the CPU.
        """
        self.settings, self.pictures, self.labels, self.device = settings, pictures, labels, device
        torch.manual_seed(settings.seed)
        _, channels, side, _ = pictures.shape
        self.config = GeneratorConfig(
            class_names,
            len(class_names),
            latent_dim=settings.latent_dim,
            image_size=side,
            channels=channels,
            widths=widths_for(side, settings.widths),
            class_dim=settings.class_dim,
        )
        self.augmentation = Augmentation(settings.shift_pixels, settings.cutout_pixels, settings.fill)
        self.generator = channels_last(ConditionalGenerator(self.config)).to(device)
        self.discriminator = channels_last(
            ProjectionDiscriminator(self.config.num_classes, channels, widths_for(side, settings.widths)[::-1])
        ).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        g_optimizer = torch.optim.Adam(self.generator.parameters(), settings.generator_rate, settings.betas)
        d_optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.discriminator_rate, settings.betas)
        self.modules: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        self.averages: dict[str, nn.Module] = {"generator": self.average}
        self.optimizers: dict[str, Optimizer] = {"generator": g_optimizer, "discriminator": d_optimizer}

    def noise(self, count: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents ``(count, latent_dim)`` and uniform labels ``(count,)``."""
        latents = torch.randn(count, self.config.latent_dim, generator=stream)
        labels = torch.randint(0, self.config.num_classes, (count,), generator=stream)
        return sent(latents, self.device), sent(labels, self.device)

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One discriminator step, then one generator step."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        real, index = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror, device=self.device)
        real_labels = sent(self.labels[index], self.device)
        latents, labels = self.noise(settings.batch, stream)
        with torch.autocast(self.device.type, torch.bfloat16):
            made = self.generator(latents, labels)
            both = augment(torch.cat([real, made.detach().float()]), self.augmentation, stream)
            real_scores, made_scores = (
                self.discriminator(both[: settings.batch], real_labels).float(),
                self.discriminator(both[settings.batch :], labels).float(),
            )
        d_loss = F.relu(1 - real_scores).mean() + F.relu(1 + made_scores).mean()
        self.optimizers["discriminator"].zero_grad()
        descend(d_loss)
        self.optimizers["discriminator"].step()
        with torch.autocast(self.device.type, torch.bfloat16):
            g_loss = -self.discriminator(augment(made.float(), self.augmentation, stream), labels).float().mean()
        self.optimizers["generator"].zero_grad()
        descend(g_loss)
        self.optimizers["generator"].step()
        average(self.generator, self.average, step, settings.decay)
        return figures_of(d=d_loss, g=g_loss, real=real_scores.mean())

    def calibrated(self) -> ConditionalGenerator:
        """A copy of the average whose batch statistics are measured afresh."""
        settings = self.settings
        return calibrated(
            self.average,
            settings.calibration_batches,
            settings.seed,
            lambda generator, stream: generator(*self.noise(settings.batch, stream)),
        )

    def sheet(self) -> Image.Image:
        """Twelve samples of each class, a row each."""
        rows, columns = self.config.num_classes, 12
        latents = torch.randn(rows * columns, self.config.latent_dim, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(rows).repeat_interleave(columns)
        with torch.no_grad():
            made = self.calibrated()(sent(latents, self.device), sent(labels, self.device))
        return sheet(to_pictures(made), columns, zoom=3)


def widths_for(side: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    """As many widths as a side takes: larger sides repeat the finest one, smaller ones leave out the coarsest."""
    levels = side.bit_length() - FIRST_SIDE.bit_length() + 1
    return (*widths[-levels:], *(widths[-1],) * (levels - len(widths)))


def main() -> None:
    """Train from the command line, then write the generator."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.conditional_gan", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished generator here")
    arguments = parser.parse_args()
    prepare(arguments)
    task = GanTask(GanSettings(seed=arguments.seed), *silhouettes.load(arguments.data_dir), silhouettes.CLASSES)
    train(task, budget_of(arguments), Pace(warmup_steps=50), keeping_of(arguments))
    if arguments.out:
        task.calibrated().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
