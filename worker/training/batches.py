"""Batches of composites as tensors, drawn by a background thread so that the next is ready when a step ends."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.composites import Combination, compose
from worker.training.loop import rng_of
from worker.training.sprites import Sprites

AHEAD: Final = 2


def to_tensor(pictures: NDArray[np.float32]) -> Tensor:
    """``(B, H, W, 3)`` in [0, 1] to ``(B, 3, H, W)`` in [-1, 1], channels last in memory."""
    return (torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2) * 2 - 1).contiguous(
        memory_format=torch.channels_last
    )


def to_pictures(images: Tensor) -> NDArray[np.float32]:
    """``(B, 3, H, W)`` in [-1, 1], on any device, to ``(B, H, W, 3)`` clipped to [0, 1]."""
    return ((images.detach().float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy()


class Composites:
    """Random composites of the given combinations; batch ``step`` depends on (seed, step) alone."""

    def __init__(self, sprites: Sprites, choices: tuple[Combination, ...], batch: int, seed: int) -> None:
        self.sprites, self.choices, self.batch, self.seed = sprites, choices, batch, seed
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._ahead: dict[int, Future[tuple[Tensor, list[Combination]]]] = {}

    def draw(self, step: int) -> tuple[Tensor, list[Combination]]:
        """Images ``(B, 3, H, W)`` in [-1, 1] and what they show."""
        rng, _ = rng_of(self.seed, step)
        picked = [self.choices[index] for index in rng.integers(0, len(self.choices), self.batch)]
        return to_tensor(np.stack([compose(self.sprites, combination, rng) for combination in picked])), picked

    def __call__(self, step: int) -> tuple[Tensor, list[Combination]]:
        """The batch of a step; the next ones are drawn meanwhile."""
        for wanted in range(step, step + AHEAD):
            if wanted not in self._ahead:
                self._ahead[wanted] = self._pool.submit(self.draw, wanted)
        return self._ahead.pop(step).result()
