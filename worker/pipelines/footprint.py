"""What weights take once they are loaded, as their files say. Nothing is loaded to know it."""

from collections.abc import Iterable
from pathlib import Path

from models.checkpoints.manifest import WEIGHTS
from models.checkpoints.weights import loaded_bytes

FLOAT32_BYTES = 4


def footprint(paths: Iterable[Path], float_bytes: int) -> int:
    """Bytes of all, with so many for each floating-point number: a file of float16 takes twice its size on a CPU.

    Files that are not safetensors count as they are.
    """
    return sum(loaded_bytes(path, float_bytes) if path.suffix == WEIGHTS else path.stat().st_size for path in paths)
