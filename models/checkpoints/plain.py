"""What folders without a card say of themselves, where they do not draw from words: by class or by kind of net.

Folders that draw from words are `models.checkpoints.card`'s business.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.errors import FieldError, ValidationFailedError

MAX_BLOCKS = 8
MAX_CLASSES = 10_000
_LANGUAGE_KINDS = {
    "clip": ("clip", "score"),
    "siglip": ("clip", "score"),
    "blip": ("captioner", "caption"),
    "florence2": ("captioner", "caption"),
}
"""Kinds of nets between pictures and words, each with its family and task."""
CONTROLNETS = ("ControlNetModel", "SD3ControlNetModel", "FluxControlNetModel")
"""Classes of diffusers that lie by themselves on the Hub, each to be run over another checkpoint."""
_BIGGAN_KEYS = {"output_dim", "z_dim", "class_embed_dim", "num_classes", "n_stats"}


def of_class(class_name: str, folder: Path, index: Mapping[str, Any]) -> dict[str, Any] | None:
    """Family, tasks and profile of a diffusers folder; None where the class is none of these.

    Raises:
        ValueError: its files do not say what they must.
    """
    reader = _READERS.get(class_name)
    return None if reader is None else reader(folder, index) | {"description": class_name}


def of_config(folder: Path) -> dict[str, Any]:
    """Family, tasks and profile of a single net, from its `config.json`: transformers', a ControlNet, a public BigGAN.

    Raises:
        ValueError: it does not say what it must.
        ValidationFailedError: a kind of net that needs a card, or is not run here.
    """
    config = read_json(folder / "config.json")
    if config.keys() >= _BIGGAN_KEYS:
        return _biggan(config)
    if config.get("_class_name") in CONTROLNETS:
        return _controlnet(config)
    kind = str(config.get("model_type", ""))[:100]
    profile: dict[str, Any] = {"default_steps": 1, "max_steps": 1}
    if kind in _LANGUAGE_KINDS:
        family, task = _LANGUAGE_KINDS[kind]
        return {"family": family, "tasks": [task], "profile": profile, "description": kind}
    if kind != "swin2sr":
        text = f"{folder} holds a net of the kind {kind!r}, which needs a card (safelight.json)."
        raise ValidationFailedError([FieldError("/location", "no_card", text)])
    profile |= {"scales": [_number(config, "upscale")], "reads_prompt": False}
    return {"family": "swin2sr", "tasks": ["upscale"], "profile": profile, "description": "Swin2SR"}


def read_json(path: Path) -> dict[str, Any]:
    """An object; the size of the file was checked by the scan.

    Raises:
        ValueError: anything else.
    """
    try:
        found = json.loads(path.read_text())
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")  # noqa: TRY004  # it is a value that came from outside
    return found


def pixels_per_latent(folder: Path, unsaid: int) -> int:
    """Pixels of a side that one latent of the folder's autoencoder covers."""
    autoencoder = folder / "vae" / "config.json"
    blocks = read_json(autoencoder).get("block_out_channels") if autoencoder.is_file() else None
    return 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 0 < len(blocks) <= MAX_BLOCKS else unsaid


def _pixel_diffusion(steps: int) -> Callable[[Path, Mapping[str, Any]], dict[str, Any]]:
    """Of DDPM (Ho et al. 2020), which takes all of its thousand steps, and DDIM (Song et al. 2020)."""

    def read(folder: Path, _index: Mapping[str, Any]) -> dict[str, Any]:
        side = _number(read_json(folder / "unet" / "config.json"), "sample_size")
        profile = _fixed(side) | {"default_steps": steps, "max_steps": 1000}
        return {"family": "ddpm", "tasks": ["sample", "interpolate"], "profile": profile}

    return read


def _dit(folder: Path, index: Mapping[str, Any]) -> dict[str, Any]:
    config = read_json(folder / "transformer" / "config.json")
    side = _number(config, "sample_size") * pixels_per_latent(folder, unsaid=8)
    profile = _fixed(side) | {
        "default_steps": 50,
        "max_steps": 1000,
        "default_guidance": 4.0,
        "class_names": _names(index.get("id2label"), _number(config, "num_embeds_ada_norm")),
    }
    return {"family": "dit", "tasks": ["class_to_image", "interpolate"], "profile": profile}


def _biggan(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of pytorch_pretrained_biggan, whose folders number their classes as ImageNet does; ours name them."""
    names = config.get("class_names") or range(_number(config, "num_classes"))
    profile = _fixed(_number(config, "output_dim")) | {"default_steps": 1, "max_steps": 1}
    tasks = ["class_to_image", "interpolate"]
    return {
        "family": "biggan",
        "tasks": tasks,
        "profile": profile | {"class_names": [str(name) for name in names]},
        "description": "BigGAN-deep",
    }


def _controlnet(config: Mapping[str, Any]) -> dict[str, Any]:
    """It does not say over what; sizes and steps are those of whatever a job names."""
    told = {"profile": {"takes_base": True}, "description": str(config["_class_name"])}
    return {"family": "controlnet", "tasks": ["control"]} | told


def _fixed(side: int) -> dict[str, Any]:
    sides = dict.fromkeys(("default_width", "default_height", "min_size", "max_size"), side)
    return sides | {"reads_prompt": False}


def _names(labels: object, count: int) -> list[str]:
    """Of ImageNet's lists of synonyms the first, where no other class has it too; numbers where nothing is said."""
    told = labels if isinstance(labels, dict) else {}
    whole = [str(told.get(f"{number}", number)) for number in range(min(count, len(told) or count))]
    short = [name.split(",")[0].strip() for name in whole]
    return [first if short.count(first) == 1 else name for first, name in zip(short, whole, strict=True)]


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or not 0 < value <= MAX_CLASSES:
        raise ValueError(f"{name} must be a number from 1 to {MAX_CLASSES}")
    return value


_READERS: dict[str, Callable[[Path, Mapping[str, Any]], dict[str, Any]]] = {
    "DDPMPipeline": _pixel_diffusion(1000),
    "DDIMPipeline": _pixel_diffusion(50),
    "DiTPipeline": _dit,
}
