"""Train a diffusion transformer of classes with its own autoencoder, and write diffusers' ``DiTPipeline``.

DiT (Peebles and Xie 2022, arXiv:2212.09748): latents cut into patches, the class and the noise level set every block's
gains, and those begin at zero. Class-free guidance as in Ho and Salimans 2022 (arXiv:2207.12598).
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from diffusers import DiTPipeline, DiTTransformer2DModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.training.adversarial import draw_real
from worker.training.batches import to_pictures
from worker.training.class_diffusion import codepoints_of
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.dit_folder import write
from worker.training.export import fold_normalisation
from worker.training.loop import Budget, Keeping, Pace, average, descend, rng_of, train
from worker.training.muon import Rates, optimizers_of
from worker.training.portraits import Look, PortraitSet
from worker.training.schedule import noised, noisy_times, scheduler
from worker.training.sheets import sheet
from worker.training.vae import VaeSettings, VaeTask

SIDE: Final = 64
PORTRAITS: Final = 4800
ENCODE_BATCH: Final = 64
LOOK: Final = Look(smallest=0.94, largest=0.94, reach=0.0, tilt_degrees=0.0, saturation=(0.15, 0.5))
CLASSES: Final = (
    "butterfly",
    "castle",
    "cherries",
    "elephant",
    "gift",
    "ice cream",
    "octopus",
    "panda",
    "pineapple",
    "pizza",
    "pumpkin",
    "sailboat",
    "snowman",
    "tulip",
    "turtle",
    "unicorn",
)
NONE: Final = 1000  # DiTPipeline's own number for "no class"; it wants a table of a thousand and one
OUTER_LAYERS: Final = ("pos_embed", "proj_out_2", "embedding_table")
AUTOENCODER: Final = VaeSettings(
    seed=1,
    batch=16,
    side=SIDE,
    latent_channels=4,
    channels=(16, 32, 48),
    norm_groups=8,
    gradient_weight=1.0,
    kl_weight=1e-3,
)


@dataclass(frozen=True, slots=True)
class DitSettings:
    """Hyper-parameters of the transformer, its training and its sample sheets."""

    seed: int = 1
    batch: int = 32
    heads: int = 6
    head_dim: int = 16
    layers: int = 5
    patch: int = 2
    rates: Rates = field(default_factory=lambda: Rates(muon=3e-3, adamw=1.5e-3))
    clip: float = 1.0
    time_bias: float = 0.5
    drop_rate: float = 0.1
    decay: float = 0.999
    sheet_steps: int = 25
    guidance: float = 2.0


def build(settings: DitSettings, side: int, channels: int, num_classes: int) -> DiTTransformer2DModel:
    """A transformer over latents of ``side``, whose blocks begin as the identity and whose output begins at zero."""
    if num_classes > NONE:
        raise ValueError(f"{num_classes} classes, but DiTPipeline has room for {NONE}")
    model = DiTTransformer2DModel(
        num_attention_heads=settings.heads,
        attention_head_dim=settings.head_dim,
        in_channels=channels,
        out_channels=channels,
        num_layers=settings.layers,
        sample_size=side,
        patch_size=settings.patch,
        num_embeds_ada_norm=NONE,
    )
    with torch.no_grad():
        for block in model.transformer_blocks:
            block.norm1.linear.weight.zero_()
            block.norm1.linear.bias.zero_()
            block.norm1.emb.class_embedder.embedding_table.weight[num_classes:NONE] = 0
        for last in (model.proj_out_1, model.proj_out_2):
            last.weight.zero_()
            last.bias.zero_()
    # Its own way of dropping classes draws from the global generator, in each block anew: never in training mode.
    return model.eval()


class DitTask:
    """The transformer, its average and its optimizers."""

    def __init__(
        self,
        settings: DitSettings,
        latents: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        decode: Callable[[Tensor], Tensor],
    ) -> None:
        """``latents``: ``(N, C, h, w)``, each channel normalised; ``decode`` turns latents into pictures in [-1, 1]."""
        self.settings, self.latents, self.labels = settings, latents, labels
        self.class_names, self.decode = class_names, decode
        torch.manual_seed(settings.seed)
        self.transformer = build(settings, latents.shape[-1], latents.shape[1], len(class_names))
        self.average = copy.deepcopy(self.transformer).requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"transformer": self.transformer}
        self.averages: dict[str, nn.Module] = {"transformer": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.transformer], OUTER_LAYERS, settings.rates)
        self.alphas = scheduler().alphas_cumprod

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One v-prediction step on one batch of noised latents; one class in ten is withheld."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        clean, index = draw_real(self.latents, settings.batch, stream, mirror=False)
        dropped = torch.rand(settings.batch, generator=stream) < settings.drop_rate
        labels = self.labels[index].masked_fill(dropped, NONE)
        times = noisy_times(settings.batch, len(self.alphas), settings.time_bias, stream)
        noisy, velocity = noised(clean, times, self.alphas, stream)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = self.transformer(noisy, timestep=times, class_labels=labels).sample
        loss = F.mse_loss(predicted.float(), velocity)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.transformer.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.transformer, self.average, step, settings.decay)
        return {"loss": loss.item(), "norm": norm.item()}

    @torch.no_grad()
    def draw(self, labels: Tensor, seed: int) -> Tensor:
        """Pictures of some classes ``(B,)``: ``(B, 3, side, side)``, about in [-1, 1]."""
        stepper, settings = scheduler(), self.settings
        stepper.set_timesteps(settings.sheet_steps)
        shape = (len(labels), *self.latents.shape[1:])
        noisy = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        both = torch.cat([labels, torch.full_like(labels, NONE)])
        for time in stepper.timesteps:
            with torch.autocast("cpu", torch.bfloat16):
                predicted = self.average(
                    torch.cat([noisy, noisy]), timestep=time.expand(len(both)), class_labels=both
                ).sample.float()
            told, untold = predicted.chunk(2)
            noisy = stepper.step(untold + settings.guidance * (told - untold), time, noisy).prev_sample
        return self.decode(noisy)

    def sheet(self) -> Image.Image:
        """Three samples of each class."""
        labels = torch.arange(len(self.class_names)).repeat_interleave(3)
        return sheet(to_pictures(self.draw(labels, seed=0)), columns=12)


class PictureBatches:
    """Random batches of a tensor of pictures; batch ``step`` depends on (seed, step) alone."""

    def __init__(self, pictures: Tensor, batch: int, seed: int) -> None:
        self.pictures, self.batch, self.seed = pictures, batch, seed

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Pictures ``(B, C, H, W)`` in [-1, 1] and their places ``(B,)``."""
        batch, index = draw_real(self.pictures, self.batch, rng_of(self.seed, step)[1], mirror=False)
        return batch.contiguous(memory_format=torch.channels_last), index

    __call__ = draw


@torch.no_grad()
def encoded(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Normalised latents of all pictures; the autoencoder takes the normalisation into its own weights."""
    parts = []
    for start in range(0, len(pictures), ENCODE_BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encode(pictures[start : start + ENCODE_BATCH].float()).latent_dist.mode().float())
    latents = torch.cat(parts)
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    fold_normalisation(vae, mean, std)
    return (latents - mean[:, None, None]) / std[:, None, None]


def decoder_of(vae: AutoencoderKL) -> Callable[[Tensor], Tensor]:
    """Latents to pictures, with the autoencoder's normalisation folded in."""

    def decode(latents: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            pictures: Tensor = vae.decode(latents).sample.float()
        return pictures

    return decode


def main() -> None:
    """Train both parts from the command line, then write the pipeline."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.dit", description=__doc__)
    add_common(parser)
    parser.add_argument("--autoencoder-minutes", type=float, default=10.0, help="budget of the autoencoder, beside")
    parser.add_argument("--out", type=Path, default=None, help="write the finished pipeline here")
    arguments = parser.parse_args()
    prepare(arguments)
    portraits = PortraitSet(arguments.data_dir, codepoints_of(CLASSES))
    pictures, labels = portraits.batch(PORTRAITS, SIDE, LOOK, arguments.seed)
    pictures = pictures.half()
    unseen, _ = portraits.batch(len(CLASSES) * 6, SIDE, LOOK, arguments.seed + 1)
    batches, held_out = PictureBatches(pictures, AUTOENCODER.batch, AUTOENCODER.seed), PictureBatches(unseen, 64, 0)
    autoencoder = VaeTask(AUTOENCODER, batches, held_out)
    keeping = Keeping(arguments.run_dir / "autoencoder", sheet_steps=arguments.sheet_steps)
    train(autoencoder, Budget(minutes=arguments.autoencoder_minutes), Pace(), keeping)
    vae = autoencoder.average.eval()
    latents = encoded(vae, pictures)
    task = DitTask(DitSettings(seed=arguments.seed), latents, labels, CLASSES, decoder_of(vae))
    train(task, budget_of(arguments), Pace(), keeping_of(arguments))
    if arguments.out:
        write(arguments.out, DiTPipeline(task.average, vae, scheduler()), CLASSES)


if __name__ == "__main__":
    main()
