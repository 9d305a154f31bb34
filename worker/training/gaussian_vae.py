"""Train the VAE with a Gaussian prior, on any pictures; from the command line, on smileys.

Loss: squared error and L1 of the picture and of its edges, against a KL term that grows to its weight (Bowman et al.
2015, arXiv:1511.06349), so that the latents are used before they are asked to be normal.
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.nets.vae import GaussianVae, VaeConfig
from worker.training.adversarial import draw_real
from worker.training.batches import to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.muon import Rates, optimizers_of
from worker.training.placing import CPU, figures_of, sent
from worker.training.portraits import SMILEYS, Look, PortraitSet
from worker.training.sheets import sheet
from worker.training.vae import VaeSettings, psnr, reconstruction_loss

SIDE: Final = 64
PORTRAITS: Final = 6000
LOOK: Final = Look(smallest=0.96, largest=1.0, reach=0.0, tilt_degrees=0.0, saturation=(0.15, 0.5))
SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class GaussianVaeSettings:
    """Hyper-parameters of the VAE and its training."""

    seed: int = 1
    batch: int = 64
    latent_dim: int = 64
    encoder_widths: tuple[int, ...] = (24, 48, 72, 96)
    decoder_widths: tuple[int, ...] = (128, 72, 48, 32, 24)
    rates: Rates = field(default_factory=lambda: Rates(muon=2e-3, adamw=1e-3))
    clip: float = 1.0
    kl_weight: float = 5e-3
    kl_warmup_steps: int = 1000
    decay: float = 0.998
    mirror: bool = True


class GaussianVaeTask:
    """The VAE, its average and its optimizers."""

    def __init__(self, settings: GaussianVaeSettings, pictures: Tensor, device: torch.device = CPU) -> None:
        """``pictures``: ``(N, C, side, side)`` in [-1, 1], with the CPU."""
        self.settings, self.pictures, self.device = settings, pictures, device
        torch.manual_seed(settings.seed)
        config = VaeConfig(
            image_size=pictures.shape[-1],
            channels=pictures.shape[1],
            latent_dim=settings.latent_dim,
            encoder_widths=settings.encoder_widths,
            decoder_widths=settings.decoder_widths,
        )
        self.vae = channels_last(GaussianVae(config)).to(device)
        self.average = copy.deepcopy(self.vae).eval().requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}
        self.averages: dict[str, nn.Module] = {"vae": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.vae], ("down.0", "last"), settings.rates)
        self.weights = VaeSettings()

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One step on one batch."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        pictures, _ = draw_real(self.pictures, settings.batch, stream, mirror=settings.mirror, device=self.device)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            mean, log_variance = (part.float() for part in self.vae.encode(pictures))
            noise = sent(torch.randn(mean.shape, generator=stream), self.device)
            latents = mean + (log_variance / 2).exp() * noise
            made = self.vae.decode(latents)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
        distance = reconstruction_loss(made.float(), pictures, self.weights)
        weight = settings.kl_weight * min(1.0, (step + 1) / settings.kl_warmup_steps)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(distance + weight * kl)
        norm = nn.utils.clip_grad_norm_(self.vae.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.vae, self.average, step, settings.decay)
        quality = psnr(made.detach().float(), pictures).mean()
        return figures_of(loss=distance, kl=kl, norm=norm, psnr=quality)

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Real pictures, their reconstructions below them, and two rows of draws from the prior."""
        real = sent(self.pictures[:SHOWN], self.device).float()
        drawn = torch.randn(2 * SHOWN, self.settings.latent_dim, generator=torch.Generator().manual_seed(0))
        made = torch.cat([real, self.average.reconstruct(real), self.average.decode(sent(drawn, self.device))])
        return sheet(to_pictures(made), columns=SHOWN, zoom=1)


def main() -> None:
    """Train from the command line, then write the VAE."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.gaussian_vae", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, default=None, help="write the finished VAE here")
    arguments = parser.parse_args()
    prepare(arguments)
    pictures, _ = PortraitSet(arguments.data_dir, SMILEYS).batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    task = GaussianVaeTask(GaussianVaeSettings(seed=arguments.seed), pictures.half())
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))
    if arguments.out:
        task.average.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
