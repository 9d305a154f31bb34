"""Layers with equalised learning rates: weights of unit variance, scaled when used (Karras et al. 2017, 1710.10196)."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE: Final = 0.2
GAIN: Final = 2**0.5
"""What brings a leaky ReLU's output back to unit variance."""


class EqualLinear(nn.Module):
    """A linear layer; ``rate`` scales its learning rate further, ``bias`` is where its bias starts."""

    def __init__(self, dim_in: int, dim_out: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim_out, dim_in) / rate)
        self.bias = nn.Parameter(torch.full((dim_out,), bias))
        self.scale, self.rate = rate / dim_in**0.5, rate

    def forward(self, values: Tensor) -> Tensor:
        """``(B, dim_in)`` to ``(B, dim_out)``."""
        result: Tensor = F.linear(values, self.weight * self.scale, self.bias * self.rate)
        return result


class EqualConv(nn.Module):
    """A convolution that keeps the side."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_out, width_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None
        self.scale = 1 / (width_in * kernel**2) ** 0.5
        self.padding = kernel // 2

    def scaled_weight(self) -> Tensor:
        """The weight as it is used: ``(width_out, width_in, kernel, kernel)``."""
        scaled: Tensor = self.weight * self.scale
        return scaled

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H, W)``."""
        return F.conv2d(features, self.scaled_weight(), self.bias, padding=self.padding)
