"""LoRAs over a loaded checkpoint: laid on for one batch, taken off behind it (Hu et al. 2021)."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import CheckpointUnavailableError, InvalidInputError, OutOfMemoryError, SafelightError
from models.params.diffusion import Lora
from worker.pipelines.base import Context, Item
from worker.pipelines.failures import guarded

_SCALES = ("alpha", "dora_scale")
"""Entries of a LoRA file that are no matrix of their own in the net."""


@contextmanager
def laid_on(pipe: Any, loras: Sequence[Lora], item: Item, context: Context) -> Iterator[None]:
    """The nets of `pipe`, and of every class that shares them, with these LoRAs inside.

    Raises:
        InvalidInputError: one does not fit; names `item`, for all items of a batch have the same.
        CheckpointUnavailableError: its files are gone, or peft is missing.
    """
    if not loras:
        yield
        return
    _needs_peft()
    try:
        for place, lora in enumerate(loras):
            folder = context.library.files(lora.name, lora.revision).folder
            try:
                guarded(lambda folder=folder, place=place: _load(pipe, folder, f"lora{place}"))  # type: ignore[misc]
            except OutOfMemoryError:
                raise
            except SafelightError as error:
                text = f"The LoRA {lora.name!r} does not fit this checkpoint: {error.detail}"
                raise InvalidInputError(text, job_id=str(item.job_id), field=f"/params/loras/{place}") from error
        names = [f"lora{place}" for place in range(len(loras))]
        pipe.set_adapters(names, [lora.scale for lora in loras])
        yield
    finally:
        pipe.unload_lora_weights()


def _load(pipe: Any, folder: Path, name: str) -> None:
    """Every matrix of the file must have found its place: diffusers itself only logs what it leaves out."""
    if not hasattr(pipe, "load_lora_weights"):
        raise InvalidInputError(f"{type(pipe).__name__} takes no LoRAs.")
    weights = sorted(folder.glob("*.safetensors"))
    if len(weights) != 1:
        raise InvalidInputError(f"its folder has {len(weights)} weight files instead of one.")
    settings = {"weight_name": weights[0].name, "local_files_only": True, "use_safetensors": True}
    logging.getLogger("diffusers.loaders").setLevel(logging.ERROR)  # it would tell of every net that is not adapted
    stored = pipe.lora_state_dict(folder, **settings)
    matrices = stored[0] if isinstance(stored, tuple) else stored
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several at a time are meant
        pipe.load_lora_weights(folder, adapter_name=name, **settings)
    wanted = sum(not key.endswith(_SCALES) for key in matrices)
    found = sum(
        f".{name}." in key and "lora_" in key
        for net in pipe.components.values()
        if hasattr(net, "named_parameters")
        for key, _ in net.named_parameters()
    )
    if found != wanted:
        raise InvalidInputError(f"{found} of its {wanted} matrices have a place in the nets.")


def _needs_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise CheckpointUnavailableError("LoRAs need the package peft: pip install 'safelight[models]'.") from error
