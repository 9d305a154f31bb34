"""Write a text-to-image checkpoint in Stable Diffusion's folder format, so that diffusers loads it with no argument."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from worker.training.schedule import scheduler

INDEX: Final[dict[str, object]] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": diffusers.__version__,
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def fold_normalisation(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Build a per-channel normalisation of the latents ``(C,)`` into the two 1x1 convolutions around them.

    Afterwards every latent channel has mean 0 and deviation 1, so ``scaling_factor`` 1.0 is exact.
    """
    channels = len(mean)
    with torch.no_grad():
        before, after = vae.quant_conv, vae.post_quant_conv
        before.weight[:channels] /= std[:, None, None, None]
        before.bias[:channels] = (before.bias[:channels] - mean) / std
        before.bias[channels:] -= 2 * std.log()
        after.bias += (after.weight[..., 0, 0] * mean).sum(dim=1)
        after.weight *= std[None, :, None, None]


def write(
    folder: Path, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, unet: UNet2DConditionModel, vae: AutoencoderKL
) -> None:
    """Write every part as float16 safetensors beside its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler().save_pretrained(folder / "scheduler")
    for name, part in (("text_encoder", text_encoder), ("unet", unet), ("vae", vae)):
        part.half().save_pretrained(folder / name, safe_serialization=True)
        part.float()
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    tidy_configs(folder)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def tidy_configs(folder: Path) -> None:
    """Tidy the configuration of every part of a pipeline."""
    for path in folder.glob("*/config.json"):
        tidy_config(path)


def tidy_config(path: Path) -> None:
    """Drop the author's own paths, which the libraries write into a configuration.

    Transformers loads weights in the ``dtype`` its configuration names, diffusers in float32: say float32 in both, so
    that the parts agree when nobody asks for a dtype.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(tidied(content), indent=2) + "\n", encoding="utf-8")


def tidied(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration, and those within it, without paths and in float32."""
    kept = {key: value for key, value in config.items() if key not in {"_name_or_path", "name_or_path"}}
    kept = {key: tidied(value) if isinstance(value, dict) else value for key, value in kept.items()}
    return kept | {"dtype": "float32"} if "dtype" in kept else kept


def main() -> None:
    """Put the finished parts of a training together."""
    from worker.training.latents import Latents
    from worker.training.text_to_image import load_averages
    from worker.training.vae import load_average

    parser = argparse.ArgumentParser(prog="python -m worker.training.export", description=__doc__)
    parser.add_argument("--vae-run", type=Path, required=True)
    parser.add_argument("--text-to-image-run", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True, help="the cache, for its normalisation")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    latents, vae = Latents.load(arguments.latents), load_average(arguments.vae_run)
    fold_normalisation(vae, latents.mean, latents.std)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.text_to_image_run / "tokenizer")  # our folder  # nosec B615
    unet, text_encoder = load_averages(arguments.text_to_image_run, tokenizer)
    write(arguments.out, tokenizer, text_encoder, unet, vae)


if __name__ == "__main__":
    main()
