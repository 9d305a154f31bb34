"""Train a slim ControlNet over a text-to-image checkpoint: a map of edges leads where things are (arXiv:2302.05543).

The checkpoint's own nets stay as they are. A ControlNet is a copy of the UNet's first half that sees the map, and adds
what it makes of it to the UNet's skip connections, through convolutions that begin at zero (Zhang et al. 2023). This
copy has no attention, since what a thing is called is the UNet's business, and begins with the UNet's weights where
the shapes agree.
"""

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.training.captions import caption, english
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.composites import combinations
from worker.training.export import tidy_config
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.lora import load_pipeline
from worker.training.mapped import Mapped, encode
from worker.training.muon import Rates, optimizers_of
from worker.training.schedule import noised, noisy_times
from worker.training.sheets import sheet
from worker.training.sprites import Sprites
from worker.training.tokenizer import tokens_of

OUTER_LAYERS: Final = ("conv_in", "conv_out", "controlnet_down_blocks", "controlnet_mid_block")
MAPPED_FILE: Final = "mapped.safetensors"
SHOWN: Final = 12
LARGE: Final = 2**16
"""From so many elements on, a matrix or a convolution is kept as float8."""


@dataclass(frozen=True, slots=True)
class ControlNetSettings:
    """Hyper-parameters of the ControlNet and its training."""

    seed: int = 1
    batch: int = 32
    map_channels: tuple[int, ...] = (8, 16, 32, 64)
    rates: Rates = field(default_factory=lambda: Rates(muon=2e-3, adamw=1e-3))
    clip: float = 1.0
    time_bias: float = 1.0
    drop_rate: float = 0.3
    decay: float = 0.995
    sheet_steps: int = 20
    guidance: float = 3.0


def build(unet: Any, settings: ControlNetSettings) -> ControlNetModel:
    """A ControlNet without attention beside a UNet, with its weights where name and shape agree."""
    told = unet.config
    net = ControlNetModel(
        in_channels=told.in_channels,
        down_block_types=("DownBlock2D",) * len(told.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        block_out_channels=told.block_out_channels,
        layers_per_block=told.layers_per_block,
        norm_num_groups=told.norm_num_groups,
        cross_attention_dim=told.cross_attention_dim,
        attention_head_dim=told.attention_head_dim,
        conditioning_embedding_out_channels=settings.map_channels,
    )
    own = net.state_dict()
    shared = {
        name: value for name, value in unet.state_dict().items() if name in own and own[name].shape == value.shape
    }
    net.load_state_dict(own | shared)
    return net


class ControlNetTask:
    """A ControlNet and its average, beside a frozen checkpoint."""

    def __init__(self, settings: ControlNetSettings, pipeline: StableDiffusionPipeline, mapped: Mapped) -> None:
        self.settings, self.pipeline, self.mapped = settings, pipeline, mapped
        torch.manual_seed(settings.seed)
        self.net = channels_last(build(pipeline.unet, settings))
        self.average = copy.deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        self.modules: dict[str, nn.Module] = {"controlnet": self.net}
        self.averages: dict[str, nn.Module] = {"controlnet": self.average}
        self.optimizers: dict[str, Optimizer] = optimizers_of([self.net], OUTER_LAYERS, settings.rates)
        self.alphas = pipeline.scheduler.alphas_cumprod

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One v-prediction step, as the checkpoint itself learnt, but led by maps; many captions are withheld."""
        del scale
        settings = self.settings
        rng, stream = rng_of(settings.seed, step)
        clean, maps, shown = self.mapped.draw(settings.batch, rng)
        texts = [caption(item, rng) if rng.random() >= settings.drop_rate else "" for item in shown]
        times = noisy_times(settings.batch, len(self.alphas), settings.time_bias, stream)
        noisy, velocity = noised(clean, times, self.alphas, stream)
        with torch.autocast("cpu", torch.bfloat16):
            context = self.context(texts)
            down, middle = self.net(noisy, times, context, maps, return_dict=False)
            predicted = self.pipeline.unet(
                noisy, times, context, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
        loss = F.mse_loss(predicted.float(), velocity)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), settings.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
        average(self.net, self.average, step, settings.decay)
        return {"loss": loss.item(), "norm": norm.item()}

    @torch.no_grad()
    def context(self, texts: list[str]) -> Tensor:
        """What the UNet attends to: ``(B, tokens, width)``."""
        read: Tensor = self.pipeline.text_encoder(tokens_of(self.pipeline.tokenizer, texts)).last_hidden_state
        return read

    def sheet(self) -> Image.Image:
        """The first maps; the pictures that they lead to; and what the same words and noise give without them."""
        rng, _ = rng_of(self.settings.seed, 0)
        _, maps, shown = self.mapped.rows(torch.arange(min(SHOWN, len(self.mapped.values))))
        prompts = [english(item, rng, style=True) for item in shown]
        pipeline = led(self.pipeline, self.average)
        with torch.autocast("cpu", torch.bfloat16):
            made = [
                draw(pipeline, prompts, maps, scale, steps=self.settings.sheet_steps, guidance=self.settings.guidance)
                for scale in (1.0, 0.0)
            ]
        return sheet(np.concatenate([maps.permute(0, 2, 3, 1).numpy(), *made]), columns=len(prompts))


def led(pipeline: StableDiffusionPipeline, net: ControlNetModel) -> StableDiffusionControlNetPipeline:
    """The two together, as diffusers runs them, over the same nets."""
    both = StableDiffusionControlNetPipeline(**pipeline.components, controlnet=net, requires_safety_checker=False)
    both.set_progress_bar_config(disable=True)
    return both


def draw(
    pipeline: StableDiffusionControlNetPipeline,
    prompts: list[str],
    maps: Tensor,
    scale: float,
    *,
    steps: int,
    guidance: float,
    seed: int = 0,
) -> NDArray[np.float32]:
    """One picture for each prompt and map, each from its own generator: ``(B, H, W, 3)`` in [0, 1]."""
    made = pipeline(
        prompts,
        image=maps,
        controlnet_conditioning_scale=scale,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed + place) for place in range(len(prompts))],
        output_type="np",
    )
    return np.asarray(made.images, np.float32)


def write(folder: Path, net: ControlNetModel) -> None:
    """Write it as diffusers reads it: large matrices as float8 (e4m3), the rest as float16.

    diffusers turns both into the type that is asked for, float32 when none is, so that only the file is small.
    """
    small = copy.deepcopy(net).half()
    for parameter in small.parameters():
        if parameter.ndim > 1 and parameter.numel() >= LARGE:
            parameter.data = parameter.data.contiguous().to(torch.float8_e4m3fn)
    small.save_pretrained(folder, safe_serialization=True)
    tidy_config(folder / "config.json")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)


def prepared(run: Path, pipeline: StableDiffusionPipeline, data_dir: Path, count: int, seed: int) -> Mapped:
    """The run's pictures and maps: made once, then kept beside its state."""
    path = run / MAPPED_FILE
    if not path.is_file():
        encode(pipeline.vae, Sprites(data_dir), combinations(held_out=False), count, seed).save(path)
    return Mapped.load(path)


def main() -> None:
    """Train from the command line, then write the ControlNet."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.controlnet", description=__doc__)
    add_common(parser)
    parser.add_argument("--base", type=Path, required=True, help="the checkpoint that it learns to lead")
    parser.add_argument("--pictures", type=int, default=12_000, help="how many are composed and encoded, once")
    parser.add_argument("--out", type=Path, required=True, help="write the finished ControlNet here")
    arguments = parser.parse_args()
    prepare(arguments)
    pipeline = load_pipeline(arguments.base)
    mapped = prepared(arguments.run_dir, pipeline, arguments.data_dir, arguments.pictures, arguments.seed)
    task = ControlNetTask(ControlNetSettings(seed=arguments.seed), pipeline, mapped)
    train(task, budget_of(arguments), Pace(warmup_steps=50, decay_from=0.5), keeping_of(arguments))
    write(arguments.out, task.average)


if __name__ == "__main__":
    main()
