"""Train LoRA adapters of a text-to-image checkpoint on pictures with captions (Hu et al. 2021, arXiv:2106.09685).

The checkpoint is a folder in Stable Diffusion's format. Its own weights stay as they are; what is learnt is a pair of
thin matrices beside each attention projection of the UNet and, if wanted, of the text encoder. The result is one file,
``pytorch_lora_weights.safetensors``, which ``pipeline.load_lora_weights(folder)`` reads.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.folders import FolderError
from worker.training.loop import descend, rng_of
from worker.training.placing import figures_of, sent
from worker.training.schedule import noisy_times
from worker.training.sheets import sheet

UNET_TARGETS: Final = ("to_q", "to_k", "to_v", "to_out.0")
CONVOLUTIONS: Final = ("conv1", "conv2", "proj_in", "proj_out")
TEXT_TARGETS: Final = ("q_proj", "k_proj", "v_proj", "out_proj")
ENCODE_BATCH: Final = 16
SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Hyper-parameters of the adapters and their training. The adapters' scale is 1: alpha equals the rank."""

    seed: int = 1
    batch: int = 8
    rank: int = 8
    rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    drop_rate: float = 0.1
    mirror: bool = False
    text_encoder: bool = False
    convolutions: bool = False
    sheet_steps: int = 20
    guidance: float = 3.0


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The checkpoint, frozen and without its safety checker, as float32.

    Raises:
        FolderError: the folder is not in Stable Diffusion's format.
    """
    try:
        name = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError) as error:
        raise FolderError(f"{folder.name}/model_index.json cannot be read: {error}") from error
    if name != StableDiffusionPipeline.__name__:
        raise FolderError(f"{folder.name} holds a {name}; adapters are trained for a StableDiffusionPipeline")
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False, use_safetensors=True, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(requires_grad=False)
    return pipeline


def adapt(module: Any, targets: Sequence[str], rank: int) -> nn.ParameterList:
    """Put adapters beside the targets of a network; returns their weights, the only ones that learn.

    They are kept apart from the network so that a run's state holds them and not the whole checkpoint.
    """
    from peft import LoraConfig

    module.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets)))
    return nn.ParameterList(parameter for parameter in module.parameters() if parameter.requires_grad)


def target_of(scheduler: Any, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """What the UNet should have predicted, by the scheduler's ``prediction_type``: noise, velocity or the picture."""
    if scheduler.config.prediction_type == "v_prediction":
        velocity: Tensor = scheduler.get_velocity(clean, noise, times)
        return velocity
    return clean if scheduler.config.prediction_type == "sample" else noise


class LoraTask:
    """A checkpoint with adapters, and their optimizer."""

    def __init__(
        self,
        settings: LoraSettings,
        folder: Path,
        pictures: Tensor,
        captions: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        """``pictures``: ``(N, 3, H, W)`` in [-1, 1], of a size that the checkpoint draws; one caption each."""
        if len(pictures) != len(captions):
            raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
        self.settings, self.captions, self.device = settings, tuple(captions), torch.device(device)
        self.pipeline = load_pipeline(folder).to(self.device)
        self.size = pictures.shape[-2:]
        self.latents = self.encode(torch.cat([pictures, pictures.flip(3)]) if settings.mirror else pictures)
        torch.manual_seed(settings.seed)  # the adapters' first weights come from the global generator
        targets = UNET_TARGETS + (CONVOLUTIONS if settings.convolutions else ())
        self.modules: dict[str, nn.Module] = {"unet": adapt(self.pipeline.unet, targets, settings.rank)}
        if settings.text_encoder:
            self.modules["text_encoder"] = adapt(self.pipeline.text_encoder, TEXT_TARGETS, settings.rank)
        self.averages: dict[str, nn.Module] = {}
        self.parameters = [weight for module in self.modules.values() for weight in module.parameters()]
        optimizer = torch.optim.AdamW(self.parameters, settings.rate, weight_decay=settings.weight_decay)
        self.optimizers: dict[str, Optimizer] = {"adamw": optimizer}
        self.noise_scheduler = DDPMScheduler.from_config(self.pipeline.scheduler.config)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Scaled latents of all pictures, ``(N, C, h, w)``."""
        vae, parts = self.pipeline.vae, []
        for start in range(0, len(pictures), ENCODE_BATCH):
            part = sent(pictures[start : start + ENCODE_BATCH], self.device).float()
            parts.append(vae.encode(part).latent_dist.mode() * vae.config.scaling_factor)
        return torch.cat(parts)

    def context(self, captions: list[str]) -> Tensor:
        """What the UNet attends to: ``(B, tokens, width)``."""
        tokenizer = self.pipeline.tokenizer
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
        ids = sent(torch.tensor(tokens.input_ids), self.device)
        with torch.set_grad_enabled(self.settings.text_encoder and torch.is_grad_enabled()):
            read: Tensor = self.pipeline.text_encoder(ids).last_hidden_state
        return read

    def loss(self, index: Tensor, captions: list[str], stream: torch.Generator) -> Tensor:
        """Mean squared error of the prediction that the checkpoint's scheduler asks for, on some latents ``(B,)``."""
        clean, scheduler = self.latents[sent(index, self.device)], self.noise_scheduler
        times = sent(noisy_times(len(index), scheduler.config.num_train_timesteps, 0.0, stream), self.device)
        noise = sent(torch.randn(clean.shape, generator=stream), self.device)
        noisy = scheduler.add_noise(clean, noise, times)
        target = target_of(scheduler, clean, noise, times)
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.pipeline.unet(noisy, times, self.context(captions)).sample
        return F.mse_loss(predicted.float(), target)

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One step on one batch; one caption in ten is withheld, for classifier-free guidance."""
        del scale
        settings = self.settings
        rng, stream = rng_of(settings.seed, step)
        index = torch.randint(0, len(self.latents), (settings.batch,), generator=stream)
        dropped = rng.random(settings.batch) < settings.drop_rate
        captions = [
            "" if drop else self.captions[place % len(self.captions)]
            for place, drop in zip(index.tolist(), dropped, strict=True)
        ]
        loss = self.loss(index, captions, stream)
        self.optimizers["adamw"].zero_grad()
        descend(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimizers["adamw"].step()
        return figures_of(loss=loss, norm=norm)

    def save(self, folder: Path) -> None:
        """Write ``pytorch_lora_weights.safetensors``, as float16."""
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft.utils import get_peft_model_state_dict

        layers = {
            name: {
                key: value.half().cpu().contiguous()
                for key, value in convert_state_dict_to_diffusers(
                    get_peft_model_state_dict(getattr(self.pipeline, name))
                ).items()
            }
            for name in self.modules
        }
        folder.mkdir(parents=True, exist_ok=True)
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=layers["unet"],
            text_encoder_lora_layers=layers.get("text_encoder"),
            safe_serialization=True,
        )
        for path in folder.glob("*.safetensors"):
            path.chmod(0o644)  # safetensors writes files for their owner alone

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """A picture for each of the first captions, from fixed seeds."""
        prompts = [self.captions[place % len(self.captions)] for place in range(SHOWN)]
        made = self.pipeline(
            prompts,
            height=self.size[0],
            width=self.size[1],
            num_inference_steps=self.settings.sheet_steps,
            guidance_scale=self.settings.guidance,
            generator=[torch.Generator().manual_seed(place) for place in range(SHOWN)],
            output_type="np",
        )
        return sheet(np.asarray(made.images, np.float32), columns=SHOWN)
