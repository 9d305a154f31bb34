"""Train the BigGAN-type generator, on any coloured pictures with labels; from the command line, on things of a garden.

Hinge loss, the shared class embedding, truncated noise and averaged weights of Brock et al. 2018 (arXiv:1809.11096), a
projection discriminator, and differentiable augmentation.
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

from worker.nets.biggan import BigGan, BigGanConfig, truncated_noise
from worker.nets.conditional_gan import ProjectionDiscriminator
from worker.nets.spectral import Spectral
from worker.training.adversarial import Augmentation, augment, draw_real
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.portraits import GARDEN, Look, PortraitSet
from worker.training.sheets import sheet

SIDE: Final = 32
PORTRAITS: Final = 8000
LOOK: Final = Look(tilt_degrees=8.0)
SMALL_32: Final = (
    (True, 16, 8),
    (False, 8, 8),
    (True, 8, 4),
    (True, 4, 2),
    (False, 2, 1),
)
AUGMENTATION: Final = Augmentation(shift_pixels=3, cutout_pixels=10, brightness=0.2, contrast=0.2, saturation=0.4)


@dataclass(frozen=True, slots=True)
class BigGanSettings:
    """Hyper-parameters of the BigGAN."""

    seed: int = 1
    batch: int = 24
    z_dim: int = 40
    channel_width: int = 24
    layers: tuple[tuple[bool, int, int], ...] = SMALL_32
    attention_layer_position: int = 2
    discriminator_widths: tuple[int, ...] = (32, 64, 96, 128)
    generator_rate: float = 5e-4
    discriminator_rate: float = 5e-4
    betas: tuple[float, float] = (0.0, 0.99)
    decay: float = 0.996
    mirror: bool = True
    augmentation: Augmentation = AUGMENTATION
    measured_pictures: int = 256


class BigGanTask:
    """Generator, discriminator, the generator's average, and their optimizers."""

    def __init__(
        self, settings: BigGanSettings, pictures: Tensor, labels: Tensor, class_names: tuple[str, ...]
    ) -> None:
        """``pictures``: ``(N, 3, side, side)`` in [-1, 1]; ``labels``: ``(N,)``, places in ``class_names``."""
        self.settings, self.pictures, self.labels = settings, pictures, labels
        torch.manual_seed(settings.seed)
        self.config = BigGanConfig(
            output_dim=pictures.shape[-1],
            z_dim=settings.z_dim,
            class_embed_dim=settings.z_dim,
            channel_width=settings.channel_width,
            num_classes=len(class_names),
            layers=settings.layers,
            attention_layer_position=settings.attention_layer_position,
            class_names=class_names,
        )
        self.generator = channels_last(BigGan(self.config))
        self.discriminator = channels_last(
            ProjectionDiscriminator(len(class_names), channels=3, widths=settings.discriminator_widths)
        )
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        g_optimizer = torch.optim.Adam(self.generator.parameters(), settings.generator_rate, settings.betas)
        d_optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.discriminator_rate, settings.betas)
        self.modules: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        self.averages: dict[str, nn.Module] = {"generator": self.average}
        self.optimizers: dict[str, Optimizer] = {"generator": g_optimizer, "discriminator": d_optimizer}

    def noise(self, count: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Untruncated noise ``(count, z_dim)`` and uniform labels ``(count,)``."""
        noise = truncated_noise([stream] * count, self.config.z_dim)
        return noise, torch.randint(0, self.config.num_classes, (count,), generator=stream)

    def scores(self, pictures: Tensor, labels: Tensor, stream: torch.Generator) -> Tensor:
        """What the discriminator says of augmented pictures: ``(B,)``."""
        seen = augment(pictures, self.settings.augmentation, stream)
        with torch.autocast("cpu", torch.bfloat16):
            scores: Tensor = self.discriminator(seen.contiguous(memory_format=torch.channels_last), labels)
        return scores.float()

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One discriminator step, then one generator step."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        real, index = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror)
        noise, labels = self.noise(settings.batch, stream)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.generator(noise, labels).float()
        real_scores = self.scores(real, self.labels[index], stream)
        made_scores = self.scores(made.detach(), labels, stream)
        d_loss = F.relu(1 - real_scores).mean() + F.relu(1 + made_scores).mean()
        self.optimizers["discriminator"].zero_grad()
        descend(d_loss)
        self.optimizers["discriminator"].step()
        g_loss = -self.scores(made, labels, stream).mean()
        self.optimizers["generator"].zero_grad()
        descend(g_loss)
        self.optimizers["generator"].step()
        average(self.generator, self.average, step, settings.decay)
        return {"d": d_loss.item(), "g": g_loss.item(), "real": real_scores.mean().item()}

    def finished(self, places: range | None = None) -> BigGan:
        """A copy of the average with its own singular vectors and batch statistics, at every truncation or some."""
        model = copy.deepcopy(self.average)
        for module in model.modules():
            if isinstance(module, Spectral):
                module.iterate(10)
        stream = torch.Generator().manual_seed(self.settings.seed)
        model.measure(places or range(self.config.n_stats), *self.noise(self.settings.measured_pictures, stream))
        return model.eval()

    def sheet(self) -> Image.Image:
        """A row of samples for each class; the left half at a truncation of 0.5, the right half at 1."""
        rows, half, last = self.config.num_classes, 6, self.config.n_stats - 1
        labels = torch.arange(rows).repeat_interleave(half)
        model = self.finished(range(last // 2, last + 1, last - last // 2))
        halves = []
        for truncation in ((last // 2) / last, 1.0):
            stream = torch.Generator().manual_seed(0)
            noise = truncated_noise([stream] * len(labels), self.config.z_dim, truncation)
            with torch.no_grad():
                halves.append(model(noise, labels, truncation).unflatten(0, (rows, half)))
        return sheet(to_pictures(torch.cat(halves, dim=1).flatten(0, 1)), columns=2 * half, zoom=3)


def main() -> None:
    """Train from the command line, then write the generator."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.biggan", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished generator here")
    arguments = parser.parse_args()
    prepare(arguments)
    codepoints = tuple(GARDEN.values())
    pictures, labels = PortraitSet(arguments.data_dir, codepoints).batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    task = BigGanTask(BigGanSettings(seed=arguments.seed), pictures, labels, tuple(GARDEN))
    train(task, budget_of(arguments), Pace(warmup_steps=50), keeping_of(arguments))
    if arguments.out:
        task.finished().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
