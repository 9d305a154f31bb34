"""The weights of an ncnn network, read from its `.param` and `.bin` files: the layers that super-resolution nets have.

A `.param` file is text, one layer a line: type, name, how many inputs and outputs, their names, then `key=value`. The
`.bin` file holds the weights in the order of the layers. Before a convolution's weights stand four bytes that say how
they are stored; biases and slopes are plain float32. The graph itself is not followed: a net of ours has its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

MAGIC: Final = "7767517"
FLAG_BYTES: Final = 4
ALIGNMENT: Final = 4
FLOAT16: Final = 0x01306B47
FLOAT32: Final = (0, 0x0002C056)
HEADER_LINES: Final = 2
NAMES_FROM: Final = 4
"""Column of a layer's first input name."""
OUTPUTS, KERNEL, HAS_BIAS, WEIGHTS = "0", "1", "5", "6"
"""Keys of a convolution."""


class BadNcnnError(ValueError):
    """The files are no ncnn network, or hold what is not read here."""


@dataclass(frozen=True)
class Layer:
    """One layer with weights: a convolution's `(out, in, k, k)` with its bias, or a PReLU's slopes alone."""

    kind: str
    weight: Tensor
    bias: Tensor | None


def read_layers(param: Path, weights: Path) -> list[Layer]:
    """The layers that have weights, in order, as float32.

    Raises:
        BadNcnnError: another format, a stored type that is not read, or bytes that are too few or left over.
    """
    lines = param.read_text().split("\n")
    if not lines or lines[0].strip() != MAGIC:
        raise BadNcnnError(f"{param.name} is no ncnn graph in text")
    reader = _Reader(weights.read_bytes())
    layers = []
    for line in lines[HEADER_LINES:]:
        words = line.split()
        if words and words[0] == "Convolution":
            layers.append(_convolution(reader, _keys(words)))
        elif words and words[0] == "PReLU":
            layers.append(Layer("PReLU", reader.plain(int(_keys(words)[OUTPUTS])), None))
    if not reader.is_at_end:
        raise BadNcnnError(f"{weights.name} holds more than the layers of {param.name}")
    return layers


def _keys(words: list[str]) -> dict[str, str]:
    inputs, outputs = int(words[2]), int(words[3])
    return dict(word.split("=", 1) for word in words[NAMES_FROM + inputs + outputs :])


def _convolution(reader: "_Reader", keys: dict[str, str]) -> Layer:
    outputs, side, count = int(keys[OUTPUTS]), int(keys.get(KERNEL, "1")), int(keys[WEIGHTS])
    if outputs <= 0 or side <= 0 or count % (outputs * side * side):
        raise BadNcnnError(f"a convolution of {outputs} outputs and side {side} has no {count} weights")
    weight = reader.flagged(count).reshape(outputs, -1, side, side)
    return Layer("Convolution", weight, reader.plain(outputs) if keys.get(HAS_BIAS) == "1" else None)


class _Reader:
    """Takes from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def plain(self, count: int) -> Tensor:
        return self._take(count, np.dtype("<f4"))

    def flagged(self, count: int) -> Tensor:
        """Weights behind their flag; float16 ones are filled up to four bytes."""
        flag = int.from_bytes(self._bytes(FLAG_BYTES), "little")
        if flag in FLOAT32:
            return self.plain(count)
        if flag != FLOAT16:
            raise BadNcnnError(f"weights are stored in a way that is not read here: {flag:#x}")
        taken = self._take(count, np.dtype("<f2"))
        self._bytes(-(count * 2) % ALIGNMENT)
        return taken

    def _take(self, count: int, dtype: np.dtype[np.floating]) -> Tensor:
        found = np.frombuffer(self._bytes(count * dtype.itemsize), dtype)
        return torch.from_numpy(found.astype(np.float32))

    def _bytes(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise BadNcnnError("the weights end in the middle of a layer")
        self._at += count
        return taken
