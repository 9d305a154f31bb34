"""Train the StyleGAN2-type generator, on any pictures; from the command line, on smileys of any hue.

Non-saturating logistic loss with R1 (Mescheder et al. 2018, arXiv:1801.04406), now and then path-length regularisation,
style mixing (Karras et al. 2020, arXiv:1912.04958), and differentiable augmentation in the place of ADA.
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

from worker.nets.stylegan2 import StyleGan2Config, StyleGan2Generator
from worker.nets.stylegan2_discriminator import StyleGan2Discriminator
from worker.training.adversarial import Augmentation, augment, draw_real
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.portraits import SMILEYS, Look, PortraitSet
from worker.training.sheets import sheet

PORTRAITS: Final = 8000
LOOK: Final = Look(tilt_degrees=0.0, hue_turns=0.5, reach=0.03)
SMALL: Final = StyleGan2Config(image_size=32, widths=(160, 128, 96, 48))
AUGMENTATION: Final = Augmentation(shift_pixels=3, cutout_pixels=10, brightness=0.2, contrast=0.2, saturation=0.2)


@dataclass(frozen=True, slots=True)
class StyleGan2Settings:
    """Hyper-parameters. The lazy regularisers run every so many steps, weighted up by as much; a weight of 0 is off."""

    seed: int = 1
    batch: int = 32
    config: StyleGan2Config = SMALL
    discriminator_widths: tuple[int, ...] = (32, 64, 96, 128)
    rate: float = 2.5e-3
    betas: tuple[float, float] = (0.0, 0.99)
    decay: float = 0.998
    mixing_rate: float = 0.6
    r1_weight: float = 0.05
    r1_steps: int = 16
    path_weight: float = 0.0
    path_steps: int = 8
    path_decay: float = 0.99
    mirror: bool = True
    augmentation: Augmentation = AUGMENTATION
    mean_latents: int = 4096


class StyleGan2Task:
    """Generator, discriminator, the generator's average, and their optimizers."""

    def __init__(self, settings: StyleGan2Settings, pictures: Tensor) -> None:
        """``pictures``: ``(N, C, side, side)`` in [-1, 1], as large as ``settings.config`` says."""
        self.settings, self.pictures, self.config = settings, pictures, settings.config
        wanted = (self.config.channels, self.config.image_size, self.config.image_size)
        if pictures.shape[1:] != wanted:
            raise ValueError(f"pictures are {tuple(pictures.shape[1:])}, the config says {wanted}")
        torch.manual_seed(settings.seed)
        self.generator = channels_last(StyleGan2Generator(self.config))
        self.discriminator = channels_last(StyleGan2Discriminator(self.config.channels, settings.discriminator_widths))
        self.average = copy.deepcopy(self.generator).requires_grad_(requires_grad=False)
        self.path = PathLength()
        self.modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "path": self.path,
        }
        self.averages: dict[str, nn.Module] = {"generator": self.average}
        self.optimizers: dict[str, Optimizer] = {
            "generator": torch.optim.Adam(self.generator.parameters(), settings.rate, settings.betas),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), settings.rate, settings.betas),
        }

    def draw_styles(self, count: int, stream: torch.Generator) -> Tensor:
        """Styles ``(count, num_styles, style_dim)`` of random latents, some of them mixed at a random layer."""
        latents, others = torch.randn(2, count, self.config.latent_dim, generator=stream).unbind(0)
        if torch.rand((), generator=stream) >= self.settings.mixing_rate:
            return self.generator.styles_of(latents)
        crossover = int(torch.randint(1, self.config.num_styles, (), generator=stream))
        return self.generator.styles_of(latents, 1.0, others, crossover)

    def make(self, count: int, stream: torch.Generator) -> Tensor:
        """Pictures ``(count, C, side, side)`` with random noise inputs."""
        noise = self.generator.noise_inputs([stream] * count)
        with torch.autocast("cpu", torch.bfloat16):
            return self.generator.synthesise(self.draw_styles(count, stream), noise).float()

    def logits(self, pictures: Tensor, stream: torch.Generator) -> Tensor:
        """What the discriminator says of augmented pictures: ``(B,)``."""
        seen = augment(pictures, self.settings.augmentation, stream)
        with torch.autocast("cpu", torch.bfloat16):
            scores: Tensor = self.discriminator(seen.contiguous(memory_format=torch.channels_last))
        return scores.float()

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One discriminator step, then one generator step; each with its regulariser when that is due."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        real, _ = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror)
        made = self.make(settings.batch, stream)
        real_logits, made_logits = self.logits(real, stream), self.logits(made.detach(), stream)
        d_loss = F.softplus(-real_logits).mean() + F.softplus(made_logits).mean()
        penalty = torch.zeros(())
        if settings.r1_weight and step % settings.r1_steps == 0:
            penalty = self.r1(real)
        self.optimizers["discriminator"].zero_grad()
        descend(d_loss + penalty * settings.r1_weight / 2 * settings.r1_steps)
        self.optimizers["discriminator"].step()
        g_loss = F.softplus(-self.logits(made, stream)).mean()
        regulariser = torch.zeros(())
        if settings.path_weight and step % settings.path_steps == 0:
            regulariser = self.path_penalty(stream) * settings.path_weight * settings.path_steps
        self.optimizers["generator"].zero_grad()
        descend(g_loss + regulariser)
        self.optimizers["generator"].step()
        average(self.generator, self.average, step, settings.decay)
        return {
            "d": d_loss.item(),
            "g": g_loss.item(),
            "real": real_logits.mean().item(),
            "made": made_logits.mean().item(),
        } | ({"r1": penalty.item()} if penalty.item() else {})

    def r1(self, real: Tensor) -> Tensor:
        """The mean squared gradient of the discriminator at real pictures, in float32."""
        seen = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.discriminator(seen).sum(), seen, create_graph=True)
        penalty: Tensor = gradient.square().sum(dim=(1, 2, 3)).mean()
        return penalty

    def path_penalty(self, stream: torch.Generator) -> Tensor:
        """How unevenly a step in style space moves the picture (section 3.2 of the paper), on half a batch."""
        count = max(1, self.settings.batch // 2)
        styles = self.draw_styles(count, stream)
        pictures = self.generator.synthesise(styles, self.generator.noise_inputs([stream] * count))
        noise = torch.randn(pictures.shape, generator=stream) / self.config.image_size
        (gradient,) = torch.autograd.grad((pictures * noise).sum(), styles, create_graph=True)
        penalty: Tensor = self.path(gradient.square().sum(dim=2).mean(dim=1).sqrt(), self.settings.path_decay)
        return penalty

    @torch.no_grad()
    def finished(self) -> StyleGan2Generator:
        """A copy of the average whose ``w_mean`` is measured over many latents."""
        generator = copy.deepcopy(self.average).eval()
        stream = torch.Generator().manual_seed(self.settings.seed)
        latents = torch.randn(self.settings.mean_latents, self.config.latent_dim, generator=stream)
        generator.w_mean.copy_(generator.map_latents(latents).mean(dim=0))
        return generator

    def sheet(self) -> Image.Image:
        """Eighty-four samples at a truncation of 0.8, then a row of truncations."""
        latents = torch.randn(96, self.config.latent_dim, generator=torch.Generator().manual_seed(0))
        generator = self.finished()
        noise = generator.noise_inputs([torch.Generator().manual_seed(0)] * 12)
        with torch.no_grad():
            rows = [generator(part, 0.8, noise=noise) for part in torch.split(latents[:84], 12)]
            steps = torch.linspace(0, 1.1, 12).tolist()
            one = generator.noise_inputs([torch.Generator().manual_seed(0)])
            rows += [generator(latents[84:85], step, noise=one) for step in steps]
        return sheet(to_pictures(torch.cat(rows)), columns=12, zoom=3)


class PathLength(nn.Module):
    """The running mean of path lengths, kept with the run's state."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, lengths: Tensor, decay: float) -> Tensor:
        """Squared distance of ``(B,)`` lengths from their running mean, which moves."""
        self.mean.lerp_(lengths.detach().mean(), 1 - decay)
        return (lengths - self.mean).square().mean()


def main() -> None:
    """Train from the command line, then write the generator."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.stylegan2", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished generator here")
    arguments = parser.parse_args()
    prepare(arguments)
    settings = StyleGan2Settings(seed=arguments.seed)
    pictures, _ = PortraitSet(arguments.data_dir, SMILEYS).batch(
        PORTRAITS, settings.config.image_size, LOOK, settings.seed
    )
    task = StyleGan2Task(settings, pictures)
    train(task, budget_of(arguments), Pace(warmup_steps=50, decay_from=0.75, floor=0.1), keeping_of(arguments))
    if arguments.out:
        task.finished().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
