# ruff: noqa: RUF001 - Chinese text has full-width commas
"""Draw pictures from a UNet and a text encoder in training, as the Stable Diffusion pipeline would."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTokenizer

from worker.training.batches import to_pictures
from worker.training.schedule import scheduler
from worker.training.tokenizer import tokens_of

PREVIEW: Final = (
    "a cat on a blue background",
    "a 3d rocket on black",
    "一只坐在草地上的橘猫",
    "蓝色背景上的猫",
    "a cartoon dog on a red background",
    "a flat elephant on pink",
    "a 3d hamburger at sea",
    "沙滩上的3d螃蟹",
    "a cartoon owl in the night sky",
    "夜空中的卡通火箭",
    "粉色背景上的一个扁平生日蛋糕",
    "a 3d guitar on a purple background",
    "a flat bicycle on a white background",
    "a cartoon crying face on grey",
    "黑色背景上的立体幽灵",
    "绿色背景，卡通小丑",
    "a 3d penguin on a yellow background",
    "a flat castle on the grass",
    "a cartoon banana on orange",
    "an avocado on a blue background",
    "大海上的卡通帆船",
    "草地上的扁平奶牛",
    "a 3d robot on a green background",
    "白色背景上的红苹果",
    "a bee, 3d, purple background",
    "a flat sunflower on black",
    "a cartoon sushi on a white background",
    "红色背景上的3d熊猫",
    "a fox",
    "一只蝴蝶",
    "a cartoon phone on pink",
    "橙色背景上的扁平鱼",
    "a 3d trophy in the night sky",
    "a flat television on the beach",
    "灰色背景上的3d鸭舌帽",
    "a cartoon christmas tree on a red background",
)


@dataclass
class Sampler:
    """The fixed parts of a preview: tokenizer, autoencoder with its normalisation folded in, steps and guidance."""

    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    steps: int = 20
    guidance: float = 3.0

    @torch.no_grad()
    def pictures(self, unet: nn.Module, text_encoder: nn.Module, prompts: list[str], seed: int) -> NDArray[np.float32]:
        """One picture per prompt, ``(B, H, W, 3)`` in [0, 1], guided away from the empty prompt."""
        count, stepper = len(prompts), scheduler()
        tokens = tokens_of(self.tokenizer, [*prompts, ""])
        with torch.autocast("cpu", torch.bfloat16):
            context = text_encoder(tokens).last_hidden_state
        context = torch.cat([context[:-1], context[-1:].expand(count, -1, -1)])
        shape = (count, self.vae.config.latent_channels, 8, 8)
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        stepper.set_timesteps(self.steps)
        for time in stepper.timesteps:
            with torch.autocast("cpu", torch.bfloat16):
                told, untold = unet(torch.cat([latents, latents]), time, context).sample.float().chunk(2)
            latents = stepper.step(untold + self.guidance * (told - untold), time, latents).prev_sample
        return to_pictures(self.decode(latents))

    def decode(self, latents: Tensor) -> Tensor:
        """``(B, C, 8, 8)`` to ``(B, 3, 64, 64)`` in [-1, 1]."""
        with torch.autocast("cpu", torch.bfloat16):
            images: Tensor = self.vae.decode(latents).sample.float()
        return images
