"""Layers under spectral normalisation (Miyato et al. 2018, arXiv:1802.05957), as public checkpoints store them.

``weight_orig`` is learnt; ``weight_u`` and ``weight_v`` are its leading singular vectors, as far as they are known.
These are the names of torch's older hook; its newer parametrisation has others, and published weights keep the old.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Spectral(nn.Module):
    """A weight divided by its largest singular value."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, shape: tuple[int, ...], *, bias: bool, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight_orig = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        matrix = self.weight_orig.detach().flatten(1)
        self.register_buffer("weight_u", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(matrix.shape[1]), dim=0))
        if not self.weight_orig.is_meta:  # there, weights are about to be put in their place
            nn.init.orthogonal_(self.weight_orig)
            self.iterate(5)

    @torch.no_grad()
    def iterate(self, times: int = 1) -> None:
        """Improve the singular vectors by power iteration."""
        matrix = self.weight_orig.flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            for _ in range(times):
                self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0, eps=self.eps))
                self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0, eps=self.eps))

    def weight(self) -> Tensor:
        """The weight as it is used; in training each use improves the singular vectors first."""
        if self.training:
            self.iterate()
        u, v = self.weight_u.clone(), self.weight_v.clone()
        with torch.autocast(u.device.type, enabled=False):
            return self.weight_orig / torch.dot(u, self.weight_orig.flatten(1) @ v)


class SpectralLinear(Spectral):
    """A linear layer."""

    def __init__(self, dim_in: int, dim_out: int, *, bias: bool = True, eps: float = 1e-4) -> None:
        super().__init__((dim_out, dim_in), bias=bias, eps=eps)

    def forward(self, values: Tensor) -> Tensor:
        """``(B, dim_in)`` to ``(B, dim_out)``."""
        return F.linear(values, self.weight(), self.bias)


class SpectralConv(Spectral):
    """A convolution that keeps the side."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, bias: bool = True, eps: float = 1e-4) -> None:
        super().__init__((width_out, width_in, kernel, kernel), bias=bias, eps=eps)
        self.padding = kernel // 2

    def forward(self, features: Tensor) -> Tensor:
        """``(B, width_in, H, W)`` to ``(B, width_out, H, W)``."""
        return F.conv2d(features, self.weight(), self.bias, padding=self.padding)
