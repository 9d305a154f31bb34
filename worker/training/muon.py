"""Muon: momentum whose matrix is orthogonalised before each step (Jordan et al. 2024), for a network's inner weights.

Vectors, embeddings, and the first and last layers stay with AdamW; :func:`split` sorts them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Coefficients of the quintic Newton-Schulz iteration of the Muon paper: steepest at zero, and bounded.
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
ITERATIONS: Final = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: ``(rows, columns)`` to the same, singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    value = matrix.bfloat16().T if tall else matrix.bfloat16()
    value = value / (value.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = value @ value.T
        value = a * value + (b * square + c * square @ square) @ value
    result: Tensor = (value.T if tall else value).to(matrix.dtype)
    return result


class Muon(Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; convolutions count as ``(out, in * height * width)``.

    Steps are scaled by ``0.2 * sqrt(max(rows, columns))``, so that learning rates match AdamW's (arXiv:2502.16982).
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            raise NotImplementedError("Muon evaluates no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group)

    def update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """One parameter's step."""
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)
        scale = 0.2 * max(direction.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonalised(direction).view_as(parameter), alpha=-group["lr"] * scale)


def split(module: nn.Module, outer: tuple[str, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """A module's learning parameters as (for Muon, for AdamW); names that contain one of ``outer`` go to AdamW."""
    inner: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim > 1 and min(parameter.flatten(1).shape) > 1
            (inner if matrix and not any(word in name for word in outer) else rest).append(parameter)
    return inner, rest


@dataclass(frozen=True, slots=True)
class Rates:
    """Base learning rates of the two optimizers, and the weight decay they share."""

    muon: float
    adamw: float
    weight_decay: float = 0.01


def optimizers_of(modules: Iterable[nn.Module], outer: tuple[str, ...], rates: Rates) -> dict[str, Optimizer]:
    """Muon over the inner matrices of some modules and AdamW over everything else that learns."""
    parts = [split(module, outer) for module in modules]
    inner = [parameter for matrices, _ in parts for parameter in matrices]
    rest = [parameter for _, others in parts for parameter in others]
    return {
        "muon": Muon(inner, rates.muon, weight_decay=rates.weight_decay),
        "adamw": torch.optim.AdamW(rest, rates.adamw, betas=(0.9, 0.99), weight_decay=rates.weight_decay),
    }
