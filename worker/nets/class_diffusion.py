"""Class-conditional diffusion in pixel space: a UNet of diffusers, a scheduler, and the names of the classes.

Diffusers has no pipeline for it, so the folder has a ``model_index.json`` of our own that names both parts, as theirs
do, and lists the classes. One class more than has a name stands for "none": the UNet learnt it from pictures whose
class was withheld, so that a sampler can be guided away from it (Ho and Salimans 2022, arXiv:2207.12598).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor

INDEX_FILE: Final = "model_index.json"
CLASS_NAME: Final = "ClassDiffusion"


@dataclass
class ClassDiffusion:
    """What draws a picture of a class. The class "none" is number ``len(class_names)``."""

    unet: UNet2DModel
    scheduler: DDIMScheduler
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        classes = self.unet.config.num_class_embeds
        if classes != len(self.class_names) + 1:
            raise ValueError(f"a UNet of {classes} classes for {len(self.class_names)} names and none")

    @property
    def none(self) -> int:
        """The class that stands for no class."""
        return len(self.class_names)

    def velocity(self, noisy: Tensor, time: Tensor | int, labels: Tensor, guidance: float) -> Tensor:
        """The UNet's guided prediction: ``(B, C, H, W)`` and labels ``(B,)`` to ``(B, C, H, W)``.

        Guidance 1 asks for the class alone; above it the class "none" runs along and is steered away from.
        """
        if guidance == 1:
            told: Tensor = self.unet(noisy, time, labels).sample
            return told
        none = torch.full_like(labels, self.none)
        told, untold = self.unet(torch.cat([noisy, noisy]), time, torch.cat([labels, none])).sample.chunk(2)
        guided: Tensor = untold + guidance * (told - untold)
        return guided

    def save_pretrained(self, folder: Path) -> None:
        """Write ``model_index.json``, ``unet/`` as float16 safetensors and ``scheduler/``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.unet.half().save_pretrained(folder / "unet", safe_serialization=True)
        self.unet.float()
        self.scheduler.save_pretrained(folder / "scheduler")
        index = {
            "_class_name": CLASS_NAME,
            "class_names": list(self.class_names),
            "scheduler": ["diffusers", type(self.scheduler).__name__],
            "unet": ["diffusers", type(self.unet).__name__],
        }
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # safetensors writes files for their owner alone

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Load for sampling, as float32."""
        index: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        if (name := index.get("_class_name")) != CLASS_NAME:
            raise ValueError(f"{folder.name} holds a {name}, not a {CLASS_NAME}")
        unet = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True, local_files_only=True)
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
        return cls(unet.eval().requires_grad_(requires_grad=False), scheduler, tuple(index["class_names"]))
