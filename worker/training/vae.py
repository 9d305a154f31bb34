"""Train the autoencoder: 64 px pictures to 8x8 latents of 16 channels, and back.

Loss: L1, plus L1 of the picture's gradients (for edges), plus a little MSE (for flat areas), plus a light KL term
(Kingma and Welling 2013, arXiv:1312.6114), as in latent diffusion (Rombach et al. 2021, arXiv:2112.10752).
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.training.batches import Composites, to_pictures
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.composites import combinations
from worker.training.loop import STATE_FILE, Pace, average, descend, rng_of, train
from worker.training.muon import Rates, optimizers_of
from worker.training.sheets import sheet
from worker.training.sprites import Sprites


@dataclass(frozen=True, slots=True)
class VaeSettings:
    """Hyper-parameters of the autoencoder."""

    seed: int = 1
    batch: int = 16
    side: int = 64
    latent_channels: int = 16
    channels: tuple[int, ...] = (32, 64, 96, 128)
    norm_groups: int = 8
    rates: Rates = field(default_factory=lambda: Rates(muon=2e-3, adamw=1.5e-3))
    clip: float = 1.0
    gradient_weight: float = 1.0
    square_weight: float = 1.0
    kl_weight: float = 1e-3
    decay: float = 0.999


def build(settings: VaeSettings) -> AutoencoderKL:
    """An AutoencoderKL with a thin full-resolution level; each width after the first halves the side."""
    levels = len(settings.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_groups,
        sample_size=settings.side,
        scaling_factor=1.0,
    )


def edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Finite differences along height and width: ``(B, C, H-1, W)`` and ``(B, C, H, W-1)``."""
    return images[:, :, 1:] - images[:, :, :-1], images[..., 1:] - images[..., :-1]


def reconstruction_loss(made: Tensor, real: Tensor, settings: VaeSettings) -> Tensor:
    """Scalar distance of two batches ``(B, 3, H, W)`` in [-1, 1]."""
    loss = F.l1_loss(made, real) + settings.square_weight * F.mse_loss(made, real)
    for ours, theirs in zip(edges(made), edges(real), strict=True):
        loss = loss + settings.gradient_weight * F.l1_loss(ours, theirs)
    return loss


def psnr(made: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image, in dB, of ``(B, 3, H, W)`` in [-1, 1]: ``(B,)``."""
    error = (made.clamp(-1, 1) - real).square().mean(dim=(1, 2, 3)) / 4
    return -10 * error.clamp_min(1e-10).log10()


def load_average(run: Path, settings: VaeSettings | None = None) -> AutoencoderKL:
    """The averaged autoencoder of a training run."""
    vae = build(settings or VaeSettings())
    prefix = "average.vae."
    tensors = load_file(run / STATE_FILE)
    vae.load_state_dict({key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)})
    return vae


class Batches(Protocol):
    """Where pictures come from: the batch of a step, as ``(B, 3, H, W)`` in [-1, 1] and what it shows."""

    def draw(self, step: int) -> tuple[Tensor, object]:
        """The batch of a step."""
        ...

    def __call__(self, step: int) -> tuple[Tensor, object]:
        """The same, of a training that goes on to the next step."""
        ...


class VaeTask:
    """The autoencoder, its average and its optimizer."""

    def __init__(
        self, settings: VaeSettings, batches: Batches, held_out: Batches, encoder_run: Path | None = None
    ) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.vae = (load_average(encoder_run, settings) if encoder_run else build(settings)).to(
            memory_format=torch.channels_last
        )
        if encoder_run:
            self.vae.encoder.requires_grad_(requires_grad=False)
            self.vae.quant_conv.requires_grad_(requires_grad=False)
        self.average = copy.deepcopy(self.vae).requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}
        self.averages: dict[str, nn.Module] = {"vae": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.vae], ("conv_in", "conv_out"), settings.rates)
        self.batches, self.held_out = batches, held_out

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One step on one batch of composites."""
        del scale
        settings = self.settings
        images, _ = self.batches(step)
        _, stream = rng_of(settings.seed, step)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.vae.encode(images).latent_dist
            made = self.vae.decode(posterior.sample(stream)).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        distance = reconstruction_loss(made.float(), images, settings)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(distance + settings.kl_weight * kl)
        norm = nn.utils.clip_grad_norm_(self.vae.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.vae, self.average, step, settings.decay)
        return {
            "loss": distance.item(),
            "kl": kl.item(),
            "norm": norm.item(),
            "psnr": psnr(made.detach().float(), images).mean().item(),
        }

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Through the averaged autoencoder, without noise."""
        with torch.autocast("cpu", torch.bfloat16):
            made: Tensor = self.average.decode(self.average.encode(images).latent_dist.mode()).sample.float()
        return made

    def sheet(self) -> Image.Image:
        """Held-out pictures above their reconstructions; prints the PSNR over the first held-out batch."""
        images, _ = self.held_out.draw(0)
        made = self.reconstruct(images)
        print(f"held-out psnr {psnr(made, images).mean():.2f} dB", flush=True)
        pairs = [(to_pictures(images[i : i + 12]), to_pictures(made[i : i + 12])) for i in range(0, 48, 12)]
        return sheet(np.concatenate([picture for pair in pairs for picture in pair]), columns=12)


def composites(settings: VaeSettings, sprites: Sprites) -> tuple[Composites, Composites]:
    """Batches of the combinations that are trained on, and of those held out."""
    seen = Composites(sprites, combinations(held_out=False), settings.batch, settings.seed)
    return seen, Composites(sprites, combinations(held_out=True), 64, settings.seed)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.vae", description=__doc__)
    add_common(parser)
    parser.add_argument("--encoder-from", type=Path, help="keep the encoder of this run and train the decoder only")
    arguments = parser.parse_args()
    prepare(arguments)
    settings = VaeSettings(seed=arguments.seed)
    task = VaeTask(settings, *composites(settings, Sprites(arguments.data_dir)), arguments.encoder_from)
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))


if __name__ == "__main__":
    main()
