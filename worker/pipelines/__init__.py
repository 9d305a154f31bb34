"""The pipeline families, by name. To add one: a file beside this one, and a line in `FAMILIES`."""

import importlib
import logging
from typing import TYPE_CHECKING

from models.errors import CheckpointUnavailableError

if TYPE_CHECKING:
    from worker.pipelines.base import Pipeline

FAMILIES: dict[str, str] = {
    "biggan": "worker.pipelines.biggan:BigGan",
    "captioner": "worker.pipelines.captioner:Captioner",
    "causal_lm": "worker.pipelines.expanding.causal_lm:CausalLm",
    "class_diffusion": "worker.pipelines.class_diffusion:ClassConditionalDiffusion",
    "clip": "worker.pipelines.clip:Clip",
    "conditional_gan": "worker.pipelines.conditional_gan:ConditionalGan",
    "controlnet": "worker.pipelines.diffusers.controlnet:ControlNet",
    "cyclegan": "worker.pipelines.cyclegan:CycleGan",
    "dcgan": "worker.pipelines.dcgan:Dcgan",
    "ddpm": "worker.pipelines.ddpm:Ddpm",
    "diffusers": "worker.pipelines.diffusers.family:Diffusers",
    "dit": "worker.pipelines.dit:Dit",
    "grammar": "worker.pipelines.expanding.grammar:Grammar",
    "openai_endpoint": "worker.pipelines.expanding.endpoint:OpenAiEndpoint",
    "preprocess": "worker.pipelines.preprocess:Preprocess",
    "real_esrgan": "worker.pipelines.real_esrgan:RealEsrgan",
    "style_transfer": "worker.pipelines.style_transfer:PackagedStyles",
    "stylegan2": "worker.pipelines.stylegan2:StyleGan2",
    "swin2sr": "worker.pipelines.swin2sr:Swin2Sr",
    "tools": "worker.pipelines.tools:Tools",
    "trainer": "worker.pipelines.trainer.family:Trainer",
    "vae": "worker.pipelines.vae:Vae",
}
"""Family → "module:class". Imported when first asked for: a worker without GANs never reads their code."""


def load_family(name: str) -> "type[Pipeline]":
    """The class of a family.

    Raises:
        CheckpointUnavailableError: no such family in this version; the message lists those there are.
    """
    if name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise CheckpointUnavailableError(f"There is no pipeline family {name!r}; this worker knows: {known}.")
    logging.getLogger(_TELLS_OF_TORCHVISION).addFilter(_is_news)
    module, _, attribute = FAMILIES[name].partition(":")
    family: type[Pipeline] = getattr(importlib.import_module(module), attribute)
    return family


_TELLS_OF_TORCHVISION = "transformers.utils.import_utils"


def _is_news(record: logging.LogRecord) -> bool:
    """That Pillow prepares the pictures, since torchvision is absent, is as it should be, and is told of each class."""
    return "requires torchvision (not installed)" not in record.getMessage()
