"""How a network lies in a folder: ``config.json`` says what to build, ``model.safetensors`` holds the weights.

The networks beside this file build themselves; what is here reads and writes their files and refuses what does not fit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
NAMED: Final = 3
"""How many wrong tensors a refusal names; the first few tell enough."""


class FolderError(ValueError):
    """A folder's files are not there, cannot be read, or do not fit the network."""


def read_config(folder: Path) -> dict[str, Any]:
    """The object in ``config.json``; its lists become tuples, as frozen configs hold them."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{folder.name}/{CONFIG_FILE} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise FolderError(f"{folder.name}/{CONFIG_FILE} is not an object")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def read_own_config(folder: Path, class_name: str) -> dict[str, Any]:
    """The config of one of our networks: ``_class_name`` must be the one asked for, and is taken out."""
    config = read_config(folder)
    if (name := config.pop("_class_name", None)) != class_name:
        raise FolderError(f"{folder.name} holds a {name}, not a {class_name}")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of ``model.safetensors``."""
    try:
        tensors: dict[str, Tensor] = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise FolderError(f"{folder.name}/{WEIGHTS_FILE} cannot be read: {error}") from error
    return tensors


def fit(module: nn.Module, tensors: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load the tensors, all of them and nothing else; ``assign`` puts them in the place of a module's without memory.

    Raises:
        FolderError: a tensor is missing, is not wanted, or has another shape; the message names the first few.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    foreign = sorted(tensors.keys() - wanted.keys())
    shapes = sorted(name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape)
    parts = [
        f"{len(names)} {what} ({', '.join(names[:NAMED])})"
        for what, names in (("missing", missing), ("not wanted", foreign), ("of another shape", shapes))
        if names
    ]
    if parts:
        raise FolderError(f"the weights do not fit the config: {'; '.join(parts)}")
    # A copy is aligned as torch likes it; a view of the file is not, and kernels for that round differently.
    module.load_state_dict(
        {name: value.clone() for name, value in tensors.items()} if assign else dict(tensors), assign=assign
    )


def write_folder(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float16
) -> None:
    """Write both files; floating-point tensors become ``dtype``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    stored = {name: (value.to(dtype) if value.is_floating_point() else value) for name, value in tensors.items()}
    save_file({name: value.detach().cpu().contiguous() for name, value in stored.items()}, folder / WEIGHTS_FILE)
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors writes files for their owner alone
