"""The transformers parts of a diffusers folder, loaded by themselves: only so does it come out what a file lacks.

Left to diffusers, a text encoder with tensors missing loads with random ones in their place and a line in the log; the
pictures would then be quietly wrong.
"""

from pathlib import Path
from typing import Any

from models.errors import CheckpointUnavailableError


def load_encoders(index: dict[str, Any], folder: Path, dtype: Any, variant: str | None) -> dict[str, Any]:
    """Every net of transformers that the index names and the folder holds, by its name.

    Raises:
        CheckpointUnavailableError: a file lacks tensors; names the first.
    """
    import transformers

    encoders: dict[str, Any] = {}
    for name, value in index.items():
        if not isinstance(value, list) or value[0] != "transformers" or not (folder / name).is_dir():
            continue
        kind = getattr(transformers, value[1], None)
        if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
            continue
        encoders[name] = _load(kind, folder / name, dtype=dtype, variant=variant)
    return encoders


def _load(kind: Any, folder: Path, **settings: Any) -> Any:
    encoder, report = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **settings
    )
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise CheckpointUnavailableError(f"{folder.name} has no weights for {lacking[0]} and {len(lacking) - 1} more.")
    return encoder.eval()
