"""Checkpoints of the families that are not diffusers' own: a few thousand random weights, saved as real ones are."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from PIL import Image

from models.params import TASKS, CheckpointProfile
from worker.devices import Device
from worker.pipelines import load_family
from worker.pipelines.base import Blob, CheckpointFiles, Item, Pipeline

NAMES = ("cat", "dog", "bird")
ANYWHERE = "00000000-0000-0000-0000-000000000001"
"""What a ref names does not matter here: the bytes lie beside it."""


def dcgan(folder: Path) -> None:
    """16 pixels, in colour."""
    from worker.nets.dcgan import DcganConfig, DcganGenerator

    config = DcganConfig(latent_dim=8, image_size=16, channels=3, widths=(12, 8))
    _at_random(DcganGenerator(config)).save_pretrained(folder)


def stylegan2(folder: Path) -> None:
    """16 pixels, six style inputs; its noise inputs are heard."""
    from worker.nets.stylegan2 import StyleGan2Config, StyleGan2Generator

    net = StyleGan2Generator(StyleGan2Config(8, 8, 2, 16, 3, (12, 8, 8)))
    for layer in net.layers:
        torch.nn.init.constant_(layer.noise_strength, 0.3)
    torch.nn.init.normal_(net.w_mean)
    net.eval().save_pretrained(folder)


def vae(folder: Path, channels: int = 3) -> None:
    """16 pixels."""
    from worker.nets.vae import GaussianVae, VaeConfig

    GaussianVae(VaeConfig(16, channels, 8, (8, 12), (12, 8, 8))).eval().save_pretrained(folder)


def biggan(folder: Path, *, named: bool = True) -> None:
    """16 pixels, three classes, eleven stored statistics."""
    from worker.nets.biggan import BigGan, BigGanConfig

    config = BigGanConfig(
        output_dim=16,
        z_dim=8,
        class_embed_dim=8,
        channel_width=8,
        num_classes=3,
        layers=((True, 16, 8), (False, 8, 4), (True, 4, 2), (False, 2, 1)),
        attention_layer_position=3,
        n_stats=11,
        class_names=NAMES if named else (),
    )
    BigGan(config).eval().save_pretrained(folder)


def cyclegan(folder: Path, channels: int = 3) -> None:
    """Two blocks; sides in multiples of four."""
    from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator

    config = CycleGanConfig(in_channels=channels, out_channels=channels, ngf=4, n_blocks=2)
    CycleGanGenerator(config).eval().save_pretrained(folder)


def swin2sr(folder: Path, scale: int = 2) -> None:
    """Windows of eight pixels."""
    from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

    config = Swin2SRConfig(
        image_size=16, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=8, upscale=scale, num_channels=3
    )
    Swin2SRForImageSuperResolution(config).save_pretrained(folder)


def conditional_gan(folder: Path) -> None:
    """16 pixels, three classes, in colour."""
    from tests.pipelines.tiny import gan

    gan(folder, channels=3)


PIXEL_UNET = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def ddpm(folder: Path, *, implicit: bool = False, learned: bool = False) -> None:
    """16 pixels; saved with DDIM when `implicit`, and with a variance beside the noise when `learned`."""
    from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(in_channels=3, out_channels=6 if learned else 3, **PIXEL_UNET)
    if implicit:
        DDIMPipeline(unet, DDIMScheduler()).save_pretrained(folder)
    else:
        variance = {"variance_type": "learned_range"} if learned else {}
        DDPMPipeline(unet, DDPMScheduler(**variance)).save_pretrained(folder)


def class_diffusion(folder: Path) -> None:
    """16 pixels, three classes and none."""
    from diffusers import UNet2DModel

    from worker.nets.class_diffusion import ClassDiffusion
    from worker.training.schedule import scheduler

    unet = UNet2DModel(in_channels=3, out_channels=3, num_class_embeds=4, **PIXEL_UNET)
    ClassDiffusion(unet, scheduler(clip_sample=True), NAMES).save_pretrained(folder)


def dit(folder: Path, *, classes: int = 1000, learned: bool = False) -> None:
    """Eight latents a side of two pixels each; as many classes as diffusers' own pipeline is made for."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    from tests.pipelines.tiny import autoencoder
    from worker.training.dit_folder import write

    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8 if learned else 4,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=classes,
    )
    torch.nn.init.normal_(transformer.proj_out_2.weight, std=0.3)
    write(folder, DiTPipeline(transformer, autoencoder(), DDIMScheduler(clip_sample=False)), NAMES)


MAKERS: dict[str, Callable[[Path], None]] = {
    "biggan": biggan,
    "class_diffusion": class_diffusion,
    "conditional_gan": conditional_gan,
    "cyclegan": cyclegan,
    "dcgan": dcgan,
    "ddpm": ddpm,
    "dit": dit,
    "stylegan2": stylegan2,
    "swin2sr": swin2sr,
    "vae": vae,
}
STEPS = {"default_steps": 4, "max_steps": 1000}
PROFILES: dict[str, dict[str, Any]] = {
    "biggan": {"class_names": NAMES},
    "conditional_gan": {"class_names": NAMES},
    "class_diffusion": {"class_names": NAMES, **STEPS, "default_guidance": 2.0},
    "ddpm": STEPS,
    "dit": {"class_names": NAMES, **STEPS, "default_guidance": 2.0},
    "cyclegan": {"default_width": 32, "default_height": 32},
    "stylegan2": {"style_layers": 6},
    "swin2sr": {"scales": (2,), "max_input_pixels": 40 * 40},
}


def save(family: str, folder: Path) -> Path:
    """Write one of them, always with the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        MAKERS[family](folder)
    return folder


def open_family(family: str, folder: Path, device: Device, **profile: Any) -> Pipeline:
    """Loaded, as a card with this profile has it."""
    given = {"reads_prompt": False, **PROFILES.get(family, {}), **profile}
    files = CheckpointFiles(family, folder, family, CheckpointProfile(**given), {})
    return load_family(family).setup(files, device)


def job(task: str, family: str = "", pictures: Any = None, **params: Any) -> Item:
    """A job of any task, resolved against the family's profile; `pictures` by pointer are its inputs."""
    pictures = pictures or {}
    refs = {name: {"upload": ANYWHERE} for name in pictures if "/" not in name}
    listed = [name for name in pictures if name.startswith("images/")]
    if listed:
        refs["images"] = [{"upload": ANYWHERE} for _ in listed]
    profile = CheckpointProfile(
        **{"reads_prompt": False, "default_steps": 1, "max_steps": 1, **PROFILES.get(family, {})}
    )
    given = TASKS[task].model_validate({"seed": 1, **params, **refs})
    blobs = {name: Blob(encoded(pixels), "image/png") for name, pixels in pictures.items()}
    return Item(uuid4(), task, given.resolved(profile), blobs)


def gradient(height: int = 20, width: int = 24) -> Any:
    """A picture with something to see: (H, W, 3) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // max(height - 1, 1), columns * 255 // max(width - 1, 1)
    blue = 255 * (((rows // 4) + (columns // 4)) % 2)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def encoded(pixels: Any) -> bytes:
    """As PNG."""
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return body.getvalue()


def _at_random(net: torch.nn.Module) -> Any:
    """The published start gives almost grey pictures; wider weights make them differ."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()
