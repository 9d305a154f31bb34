"""Train the text-to-image model: a CLIP text encoder and a UNet together, on the autoencoder's cached latents.

Latent diffusion (Rombach et al. 2021, arXiv:2112.10752) with v-prediction (Salimans and Ho 2022, arXiv:2202.00512) and
classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from worker.training.captions import caption
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.export import fold_normalisation
from worker.training.latents import Latents
from worker.training.loop import STATE_FILE, Pace, average, descend, rng_of, train
from worker.training.muon import Rates, optimizers_of
from worker.training.sampling import PREVIEW, Sampler
from worker.training.schedule import noised, noisy_times, scheduler
from worker.training.sheets import sheet
from worker.training.tokenizer import build as build_tokenizer
from worker.training.tokenizer import tokens_of
from worker.training.vae import load_average

OUTER_LAYERS: Final = ("conv_in", "conv_out", "embedding.weight", "embedding.position", "token_embedding")


@dataclass(frozen=True, slots=True)
class TextToImageSettings:
    """Hyper-parameters of the UNet, the text encoder and their training."""

    seed: int = 1
    batch: int = 64
    latent_channels: int = 16
    channels: tuple[int, ...] = (128, 192)
    heads: int = 4
    layers_per_block: int = 1
    text_width: int = 192
    text_layers: int = 3
    rates: Rates = field(default_factory=lambda: Rates(muon=2e-3, adamw=1e-3))
    clip: float = 1.0
    time_bias: float = 1.0
    decay: float = 0.9995


def build_unet(settings: TextToImageSettings) -> UNet2DConditionModel:
    """A UNet over 8x8 latents, with cross-attention at full size and in the middle."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=settings.latent_channels,
        out_channels=settings.latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        attention_head_dim=settings.heads,
        cross_attention_dim=settings.text_width,
        norm_num_groups=16,
    )


def build_text_encoder(settings: TextToImageSettings, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A small CLIP text encoder over our own vocabulary."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        intermediate_size=4 * settings.text_width,
        projection_dim=settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


class TextToImageTask:
    """UNet and text encoder, their averages, and one optimizer over both."""

    def __init__(
        self, settings: TextToImageSettings, tokenizer: CLIPTokenizer, latents: Latents, sampler: Sampler
    ) -> None:
        self.settings, self.tokenizer, self.latents, self.sampler = settings, tokenizer, latents, sampler
        torch.manual_seed(settings.seed)
        self.unet = build_unet(settings).to(memory_format=torch.channels_last)
        self.text_encoder = build_text_encoder(settings, tokenizer)
        self.modules: dict[str, nn.Module] = {"unet": self.unet, "text_encoder": self.text_encoder}
        self.averages: dict[str, nn.Module] = {
            name: copy.deepcopy(module).requires_grad_(requires_grad=False) for name, module in self.modules.items()
        }
        self.parameters = [parameter for module in self.modules.values() for parameter in module.parameters()]
        self.optimizers: dict[str, Optimizer] = optimizers_of(self.modules.values(), OUTER_LAYERS, settings.rates)
        self.alphas = scheduler().alphas_cumprod

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One v-prediction step on one batch of noised latents."""
        del scale
        settings = self.settings
        rng, stream = rng_of(settings.seed, step)
        clean, shown = self.latents.draw(settings.batch, rng)
        tokens = tokens_of(self.tokenizer, [caption(combination, rng) for combination in shown])
        times = noisy_times(settings.batch, len(self.alphas), settings.time_bias, stream)
        noisy, velocity = noised(clean, times, self.alphas, stream)
        with torch.autocast("cpu", torch.bfloat16):
            context = self.text_encoder(tokens).last_hidden_state
            predicted = self.unet(noisy.contiguous(memory_format=torch.channels_last), times, context).sample
        loss = F.mse_loss(predicted.float(), velocity)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        for name, module in self.modules.items():
            average(module, self.averages[name], step, settings.decay)
        return {"loss": loss.item(), "norm": norm.item()}

    def sheet(self) -> Image.Image:
        """A fixed list of English and Chinese prompts, one picture each."""
        made = self.sampler.pictures(self.averages["unet"], self.averages["text_encoder"], list(PREVIEW), seed=0)
        return sheet(made, columns=12)


def load_averages(run: Path, tokenizer: CLIPTokenizer) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The averaged UNet and text encoder of a training run."""
    settings, tensors = TextToImageSettings(), load_file(run / STATE_FILE)
    unet, text_encoder = build_unet(settings), build_text_encoder(settings, tokenizer)
    for name, module in (("unet", unet), ("text_encoder", text_encoder)):
        prefix = f"average.{name}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return unet, text_encoder


def kept_tokenizer(folder: Path) -> CLIPTokenizer:
    """The run's tokenizer: built once, then kept, since other ids would scramble what the text encoder has learnt."""
    if not folder.is_dir():
        return build_tokenizer(folder)
    loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)  # a run's own folder  # nosec B615
    return loaded


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.text_to_image", description=__doc__)
    add_common(parser)
    parser.add_argument("--latents", type=Path, required=True, help="cache written by worker.training.latents")
    parser.add_argument("--vae-run", type=Path, required=True, help="autoencoder for the sample sheets")
    arguments = parser.parse_args()
    prepare(arguments)
    latents, vae = Latents.load(arguments.latents), load_average(arguments.vae_run)
    fold_normalisation(vae, latents.mean, latents.std)
    tokenizer = kept_tokenizer(arguments.run_dir / "tokenizer")
    task = TextToImageTask(TextToImageSettings(seed=arguments.seed), tokenizer, latents, Sampler(tokenizer, vae.eval()))
    train(task, budget_of(arguments), Pace(decay_from=0.5), keeping_of(arguments))


if __name__ == "__main__":
    main()
