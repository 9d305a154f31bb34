"""Train the class-conditional GAN on animal silhouettes.

Hinge loss (Lim and Ye 2017, arXiv:1705.02894) with differentiable augmentation (Zhao et al. 2020, arXiv:2006.10738);
the generator that is kept is an exponential moving average.
"""

import argparse
import copy
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.conditional_gan import ConditionalGenerator, GeneratorConfig, ProjectionDiscriminator
from worker.training import silhouettes
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
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
    shift_pixels: int = 3
    cutout_pixels: int = 10
    calibration_batches: int = 40


def augment(pictures: Tensor, settings: GanSettings, stream: torch.Generator) -> Tensor:
    """Random shift and one erased square per picture, differentiably: ``(B, C, H, W)`` to the same."""
    count, _, height, width = pictures.shape
    reach = settings.shift_pixels
    padded = F.pad(pictures, (reach, reach, reach, reach), value=-1.0)
    top, left = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=stream)
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    shifted = padded[
        torch.arange(count)[:, None, None, None], torch.arange(pictures.shape[1])[:, None, None], rows, columns
    ]
    centre = torch.randint(0, height, (2, count, 1), generator=stream)
    half = settings.cutout_pixels // 2
    near_row = (torch.arange(height) - centre[0]).abs() < half
    near_column = (torch.arange(width) - centre[1]).abs() < half
    hole = (near_row[:, None, :, None] & near_column[:, None, None, :]).to(pictures.dtype)
    return shifted * (1 - hole) - hole


class GanTask:
    """Generator, discriminator, the generator's average, and their optimizers."""

    def __init__(self, settings: GanSettings, pictures: Tensor, labels: Tensor) -> None:
        self.settings, self.pictures, self.labels = settings, pictures, labels
        torch.manual_seed(settings.seed)
        self.config = GeneratorConfig(silhouettes.CLASSES, len(silhouettes.CLASSES))
        self.generator = channels_last(ConditionalGenerator(self.config))
        self.discriminator = channels_last(ProjectionDiscriminator(self.config.num_classes))
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        g_optimizer = torch.optim.Adam(self.generator.parameters(), settings.generator_rate, settings.betas)
        d_optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.discriminator_rate, settings.betas)
        self.modules: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        self.averages: dict[str, nn.Module] = {"generator": self.average}
        self.optimizers: dict[str, Optimizer] = {"generator": g_optimizer, "discriminator": d_optimizer}

    def noise(self, count: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents ``(count, latent_dim)`` and uniform labels ``(count,)``."""
        latents = torch.randn(count, self.config.latent_dim, generator=stream)
        return latents, torch.randint(0, self.config.num_classes, (count,), generator=stream)

    def real(self, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of real pictures, each mirrored by a coin's fall, with their labels."""
        index = torch.randint(0, len(self.pictures), (self.settings.batch,), generator=stream)
        coin = torch.rand(self.settings.batch, 1, 1, 1, generator=stream) < 0.5  # noqa: PLR2004 - a fair coin
        pictures = self.pictures[index]
        return torch.where(coin, pictures.flip(3), pictures), self.labels[index]

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One discriminator step, then one generator step."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        real, real_labels = self.real(stream)
        latents, labels = self.noise(settings.batch, stream)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.generator(latents, labels)
            both = augment(torch.cat([real, made.detach().float()]), settings, stream)
            real_scores, made_scores = (
                self.discriminator(both[: settings.batch], real_labels).float(),
                self.discriminator(both[settings.batch :], labels).float(),
            )
        d_loss = F.relu(1 - real_scores).mean() + F.relu(1 + made_scores).mean()
        self.optimizers["discriminator"].zero_grad()
        descend(d_loss)
        self.optimizers["discriminator"].step()
        with torch.autocast("cpu", torch.bfloat16):
            g_loss = -self.discriminator(augment(made.float(), settings, stream), labels).float().mean()
        self.optimizers["generator"].zero_grad()
        descend(g_loss)
        self.optimizers["generator"].step()
        average(self.generator, self.average, step, settings.decay)
        return {"d": d_loss.item(), "g": g_loss.item(), "real": real_scores.mean().item()}

    @torch.no_grad()
    def calibrated(self) -> ConditionalGenerator:
        """A copy of the average whose batch statistics are measured afresh (BigGAN's standing statistics)."""
        generator = copy.deepcopy(self.average)
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        stream = torch.Generator().manual_seed(self.settings.seed)
        generator.train()
        for _ in range(self.settings.calibration_batches):
            generator(*self.noise(self.settings.batch, stream))
        return generator.eval()

    def sheet(self) -> Image.Image:
        """Twelve samples of each class, a row each."""
        rows, columns = self.config.num_classes, 12
        latents = torch.randn(rows * columns, self.config.latent_dim, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            made = self.calibrated()(latents, torch.arange(rows).repeat_interleave(columns))
        return sheet(to_pictures(made), columns, zoom=3)


def main() -> None:
    """Train from the command line, then write the generator."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.conditional_gan", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=str, default=None, help="write the finished generator here")
    arguments = parser.parse_args()
    prepare(arguments)
    task = GanTask(GanSettings(seed=arguments.seed), *silhouettes.load(arguments.data_dir))
    train(task, budget_of(arguments), Pace(warmup_steps=50), keeping_of(arguments))
    if arguments.out:
        from pathlib import Path

        task.calibrated().save_pretrained(Path(arguments.out))


if __name__ == "__main__":
    main()
