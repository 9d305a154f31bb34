"""Where a training's tensors lie: networks on the device; random streams and the pile of pictures with the CPU.

A stream of the CPU draws the same numbers whatever the device, and the device's memory belongs to the checkpoints that
are loaded, so a step sends over what it has drawn: some megabytes. It waits for the device once, to read its figures.
"""

from typing import Final

import torch
from torch import Tensor

CPU: Final = torch.device("cpu")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; CUDA copies it aside before this returns, so nothing waits for the transfer."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def figures_of(**scalars: Tensor) -> dict[str, float]:
    """Some scalars of one device as numbers, read in one go."""
    values = torch.stack([value.detach() for value in scalars.values()]).cpu().tolist()
    return dict(zip(scalars, values, strict=True))
