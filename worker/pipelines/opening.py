"""Opening folders of the few diffusers classes that take no words: from this machine only, safetensors only."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import CheckpointUnavailableError

if TYPE_CHECKING:
    from worker.devices import Device

INDEX = "model_index.json"


def open_class(folder: Path, device: "Device", classes: Sequence[str]) -> Any:
    """The loaded pipeline on its device, in the device's dtype.

    Raises:
        CheckpointUnavailableError: the folder is of another class, or asks for code that is not diffusers' own.
    """
    import diffusers

    quieten()
    index = _index(folder)
    class_name = index.get("_class_name")
    if class_name not in classes:
        raise CheckpointUnavailableError(f"{folder.name} holds a {class_name}, not a {' or '.join(classes)}.")
    for name, value in index.items():
        library = value[0] if isinstance(value, list) and value else None
        if isinstance(library, str) and library != "diffusers":
            raise CheckpointUnavailableError(f"{folder.name}: {name} asks for code of {library!r}, which is not run.")
    pipe = getattr(diffusers, str(class_name)).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=device.dtype, trust_remote_code=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device.torch_device)


def quieten() -> None:
    """No bars of progress: nobody watches a worker's terminal."""
    from diffusers.utils import logging

    logging.disable_progress_bar()


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointUnavailableError(f"{folder.name}/{INDEX} cannot be read: {type(error).__name__}.") from error
    if not isinstance(index, dict):
        raise CheckpointUnavailableError(f"{folder.name}/{INDEX} is not an object.")
    return index
