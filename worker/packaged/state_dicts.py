"""State dicts that packages ship as torch's own files: the one place that opens such a file, and only pinned ones.

`weights_only=True` reads tensors and plain containers and refuses every other name; the hash was compared before.
"""

from typing import TYPE_CHECKING

import torch

from models.errors import CheckpointUnavailableError
from worker.packaged.files import PackagedFile, locate

if TYPE_CHECKING:
    from torch import Tensor


def read_state_dict(file: PackagedFile) -> "dict[str, Tensor]":
    """The tensors of a packaged `.pth` file by name, on the CPU.

    Raises:
        CheckpointUnavailableError: the package is missing, or holds something else.
    """
    found = torch.load(locate(file), map_location="cpu", weights_only=True)  # noqa: TID251  # pinned by its hash
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise CheckpointUnavailableError(f"{file.path} is no state dict.")
    return {str(name): value for name, value in found.items()}
