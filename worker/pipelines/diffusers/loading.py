"""Opening a diffusers folder: checked first, read from this machine only, safetensors only, no code of its own."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.errors import CheckpointUnavailableError
from worker.pipelines.diffusers.encoders import load_encoders
from worker.pipelines.diffusers.sisters import tasks_of

if TYPE_CHECKING:
    from worker.devices import Device

INDEX = "model_index.json"
_LIBRARIES = frozenset({"diffusers", "transformers"})
_NOT_NEEDED = ("safety_checker", "image_encoder")
"""Parts that a folder may name and that no job needs: what is shown to whom is decided after the run."""

_MAY_BE_LEFT_AT_HOME = ("text_encoder_3", "tokenizer_3")


def open_folder(folder: Path, device: "Device", *, compiled: bool = False) -> Any:
    """The loaded pipeline on its device, in the device's dtype; `compiled` has torch compile the denoiser.

    Raises:
        CheckpointUnavailableError: the folder is no diffusers folder or asks for code that is not diffusers' own.
    """
    import transformers
    from diffusers.utils import logging

    logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    index = _read_index(folder)
    variant = variant_of(folder)
    left_out = _parts_left_out(index, folder)
    wanted = {name: value for name, value in index.items() if name not in left_out}
    pipe = _loader(index["_class_name"]).from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=device.dtype,
        variant=variant,
        trust_remote_code=False,
        **left_out,
        **load_encoders(wanted, folder, device.dtype, variant),
    )
    pipe.set_progress_bar_config(disable=True)
    _check_task(pipe)
    _check_whole(pipe)
    pipe.to(device.torch_device)
    _tune(pipe, device, compiled=compiled)
    return pipe


def modules_of(pipe: Any) -> dict[str, torch.nn.Module]:
    """The nets of a pipeline, by component name."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def held_bytes(pipe: Any, *, largest_only: bool = False) -> int:
    """Bytes of parameters and buffers; of the largest net alone when only one is on the device at a time."""
    sizes = [
        sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
        for module in modules_of(pipe).values()
    ]
    return max(sizes, default=0) if largest_only else sum(sizes)


def _read_index(folder: Path) -> dict[str, Any]:
    """`model_index.json`, with every part from a library that we trust."""
    from diffusers import pipelines

    path = folder / INDEX
    if not path.is_file():
        raise CheckpointUnavailableError(f"{folder.name} has no {INDEX}: it is not a diffusers folder.")
    index: dict[str, Any] = json.loads(path.read_text())
    for name, value in index.items():
        library = value[0] if isinstance(value, list) and value else None
        if isinstance(library, str) and library not in _LIBRARIES and not hasattr(pipelines, library):
            raise CheckpointUnavailableError(f"{folder.name}: {name} asks for code of {library!r}, which is not run.")
    if not isinstance(index.get("_class_name"), str):
        raise CheckpointUnavailableError(f"{folder.name}: {INDEX} names no pipeline class of diffusers.")
    return index


def _parts_left_out(index: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings for what is not loaded: never needed, saved as null, or SD3's large T5, which may be left at home."""
    absent = [name for name, value in index.items() if value == [None, None]]
    absent += [name for name in _MAY_BE_LEFT_AT_HOME if name in index and not (folder / name).is_dir()]
    settings: dict[str, Any] = dict.fromkeys([*absent, *(name for name in _NOT_NEEDED if name in index)])
    if "safety_checker" in index:
        settings |= {"feature_extractor": None, "requires_safety_checker": False}
    if "XL" in index["_class_name"]:
        settings["add_watermarker"] = False  # else decided by what happens to be installed
    return settings


def variant_of(folder: Path, weights: str = "*/*.safetensors") -> str | None:
    """`fp16` for a folder that holds only the files of that variant, as half of the Hub's downloads do."""
    names = [path.name for path in folder.glob(weights)]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def _loader(class_name: str) -> Any:
    """The auto class where the folder's class, or its image-to-image sister, draws from text; else the plain."""
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline
    from diffusers.pipelines import auto_pipeline as auto

    tables = (auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING)
    keys = {key for table in tables for key, known in table.items() if known.__name__ == class_name}
    return AutoPipelineForText2Image if keys & set(tables[0]) else DiffusionPipeline


def _check_task(pipe: Any) -> None:
    """Whether there is anything that this class can be asked for."""
    if not tasks_of(pipe):
        raise CheckpointUnavailableError(f"{type(pipe).__name__} does no task that there is here.")


def _check_whole(pipe: Any) -> None:
    """A file with tensors missing loads without complaint and leaves them on `meta`."""
    for name, module in modules_of(pipe).items():
        check_whole(name, module)


def check_whole(name: str, module: torch.nn.Module) -> None:
    """Whether every parameter of a net came with the file.

    Raises:
        CheckpointUnavailableError: names the first that did not.
    """
    missing = [key for key, tensor in module.named_parameters() if tensor.is_meta]
    if missing:
        raise CheckpointUnavailableError(f"{name} has no weights for {missing[0]} and {len(missing) - 1} more.")


def _tune(pipe: Any, device: "Device", *, compiled: bool) -> None:
    """What makes a GPU faster and changes nothing else; compiling only where the checkpoint's row asks for it."""
    if device.kind == "cuda":
        for name in ("unet", "vae"):
            if (module := getattr(pipe, name, None)) is not None:
                module.to(memory_format=torch.channels_last)
    if compiled:
        for name in ("unet", "transformer"):
            if (module := getattr(pipe, name, None)) is not None:
                module.compile()
