"""What the families share whose net makes a picture in one forward pass: DCGAN, C-GAN, StyleGAN2, BigGAN, VAE."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from worker.pipelines.base import Context, Determinism, Item, Output, Pipeline
from worker.pipelines.draws import Draw, bytes_of, draws_of, wanted
from worker.pipelines.failures import guarded
from worker.pipelines.pixels import to_pixels
from worker.pipelines.walks import walk_all

if TYPE_CHECKING:
    from worker.devices import Device
    from worker.pipelines.base import Pixels

MOST_ROWS = 64
"""In one pass; more of them make nothing faster."""


class OnePass(Pipeline):
    """A net on one device, in float32: it is small, and its pictures stay the same everywhere."""

    determinism: ClassVar[Determinism] = Determinism.SAME_BATCH_SHAPE
    in_float32: ClassVar[bool] = True

    def __init__(self, net: nn.Module, device: "Device") -> None:
        """`net` is loaded, in eval mode, on the device."""
        self._module = net
        self._device = device.torch_device
        self._most_rows = MOST_ROWS

    @abstractmethod
    def pictures(self, draws: Sequence[Draw]) -> Tensor:
        """`(B, C, H, W)` in [-1, 1], C 1 or 3, one for each draw."""

    @abstractmethod
    def frames(self, item: Item) -> Callable[[slice], Tensor]:
        """What makes the frames of a slice of the item's walk, as `pictures` does.

        Raises:
            InvalidInputError: a walk that the net cannot go.
        """

    def check(self, item: Item) -> None:  # most families have nothing to refuse
        """Refuse what the net cannot make.

        Raises:
            InvalidInputError: names the field.
        """

    def run(self, items: Sequence[Item], context: Context) -> Iterator[Output]:
        """One pass for all pictures of all items; walks one after the other."""
        context.raise_if_all_stopped()
        for item in items:
            self.check(item)
        if items[0].task == "interpolate":
            yield from walk_all(items, context, self._begin, self._most_rows)
            return
        draws = draws_of(items)
        parts = [draws[start : start + self._most_rows] for start in range(0, len(draws), self._most_rows)]
        for number, part in enumerate(parts):
            context.raise_if_all_stopped()
            pixels = self.shown(partial(self.pictures, part))
            context.step(number + 1, len(parts))
            yield from wanted(part, pixels, context)

    @property
    def memory_bytes(self) -> int:
        """Parameters and buffers."""
        return bytes_of(self._module)

    def slim(self) -> str:
        """Half as many pictures in one pass."""
        if self._most_rows == 1:
            return ""
        self._most_rows //= 2
        return f"at most {self._most_rows} at once"

    def _begin(self, item: Item) -> "Callable[[slice], Pixels]":
        with torch.inference_mode():
            make = guarded(partial(self.frames, item))
        return lambda part: self.shown(partial(make, part))

    def shown(self, make: Callable[[], Tensor]) -> "Pixels":
        """`(B, H, W, 3)` uint8 of `(B, C, H, W)` in [-1, 1], made without gradients and with errors mapped."""

        def made() -> "Pixels":
            with torch.inference_mode():
                return np.ascontiguousarray(to_pixels(make() / 2 + 0.5))

        return guarded(made)
