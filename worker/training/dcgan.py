"""Train the DCGAN, on any pictures; from the command line, on the faces of emoji animals.

The losses are the paper's (Radford et al. 2015, arXiv:1511.06434: binary cross-entropy, Adam with a slow first moment).
Differentiable augmentation and an averaged generator are added: a few thousand pictures would not do without.
"""

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator
from worker.training.adversarial import Augmentation, augment, calibrated, draw_real
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.placing import CPU, figures_of, sent
from worker.training.portraits import ANIMAL_FACES, Look, PortraitSet
from worker.training.sheets import sheet

SIDE: Final = 64
PORTRAITS: Final = 6000
LOOK: Final = Look()
AUGMENTATION: Final = Augmentation(shift_pixels=6, cutout_pixels=24, brightness=0.3, contrast=0.3, saturation=0.5)


@dataclass(frozen=True, slots=True)
class DcganSettings:
    """Hyper-parameters of the DCGAN."""

    seed: int = 1
    batch: int = 64
    latent_dim: int = 100
    last_width: int = 32
    widest: int = 192
    generator_rate: float = 3e-4
    discriminator_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.99)
    decay: float = 0.998
    real_target: float = 0.9
    mirror: bool = True
    augmentation: Augmentation = AUGMENTATION
    calibration_batches: int = 20


class DcganTask:
    """Generator, discriminator, the generator's average, and their optimizers."""

    def __init__(self, settings: DcganSettings, pictures: Tensor, device: torch.device = CPU) -> None:
        """``pictures``: ``(N, C, side, side)`` in [-1, 1], with the CPU; the side is a power of two."""
        self.settings, self.pictures, self.device = settings, pictures, device
        torch.manual_seed(settings.seed)
        _, channels, side, _ = pictures.shape
        self.config = DcganConfig(
            latent_dim=settings.latent_dim,
            image_size=side,
            channels=channels,
            widths=DcganConfig.for_size(side, channels, settings.last_width, settings.widest).widths,
        )
        self.generator = channels_last(DcganGenerator(self.config)).to(device)
        self.discriminator = channels_last(DcganDiscriminator(self.config)).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        g_optimizer = torch.optim.Adam(self.generator.parameters(), settings.generator_rate, settings.betas)
        d_optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.discriminator_rate, settings.betas)
        self.modules: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        self.averages: dict[str, nn.Module] = {"generator": self.average}
        self.optimizers: dict[str, Optimizer] = {"generator": g_optimizer, "discriminator": d_optimizer}

    def noise(self, count: int, stream: torch.Generator) -> Tensor:
        """Latents ``(count, latent_dim)``."""
        return sent(torch.randn(count, self.config.latent_dim, generator=stream), self.device)

    def logits(self, pictures: Tensor, stream: torch.Generator) -> Tensor:
        """What the discriminator says of augmented pictures: ``(B,)``."""
        seen = augment(pictures, self.settings.augmentation, stream)
        with torch.autocast(self.device.type, torch.bfloat16):
            scores: Tensor = self.discriminator(seen.contiguous(memory_format=torch.channels_last))
        return scores.float()

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One discriminator step, then one generator step."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        real, _ = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            made = self.generator(self.noise(settings.batch, stream)).float()
        real_logits, made_logits = self.logits(real, stream), self.logits(made.detach(), stream)
        target = torch.full_like(real_logits, settings.real_target)
        d_loss = F.binary_cross_entropy_with_logits(real_logits, target) + F.softplus(made_logits).mean()
        self.optimizers["discriminator"].zero_grad()
        descend(d_loss)
        self.optimizers["discriminator"].step()
        g_loss = F.softplus(-self.logits(made, stream)).mean()
        self.optimizers["generator"].zero_grad()
        descend(g_loss)
        self.optimizers["generator"].step()
        average(self.generator, self.average, step, settings.decay)
        return figures_of(d=d_loss, g=g_loss, real=real_logits.mean())

    def calibrated(self) -> DcganGenerator:
        """A copy of the average with batch statistics of its own."""
        settings = self.settings
        return calibrated(
            self.average,
            settings.calibration_batches,
            settings.seed,
            lambda generator, stream: generator(self.noise(settings.batch, stream)),
        )

    def sheet(self) -> Image.Image:
        """Ninety-six samples."""
        latents = self.noise(96, torch.Generator().manual_seed(0))
        with torch.no_grad():
            made = self.calibrated()(latents)
        return sheet(to_pictures(made), columns=12)


def main() -> None:
    """Train from the command line, then write the generator."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.dcgan", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished generator here")
    arguments = parser.parse_args()
    prepare(arguments)
    pictures, _ = PortraitSet(arguments.data_dir, ANIMAL_FACES).batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    task = DcganTask(DcganSettings(seed=arguments.seed), pictures)
    train(task, budget_of(arguments), Pace(warmup_steps=50), keeping_of(arguments))
    if arguments.out:
        task.calibrated().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
