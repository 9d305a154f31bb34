"""The animal silhouettes that the conditional GAN learns: 10,000 pictures of 28x28, ten classes.

The package stores two pickled arrays. Their raw samples are found by walking the opcodes, so nothing is ever unpickled.
"""

import gzip
import pickletools  # noqa: TID251  # reads opcodes, runs none
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training import sources

CLASSES: Final = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
COUNT: Final = 10_000
FILE_SIDE: Final = 28
SIDE: Final = 32
FOLDER: Final = "animal_mnist/data/Animal_MNIST"


def largest_bytes(archive: Path) -> bytes:
    """The longest byte string in a gzipped pickle, read from its opcodes without running them."""
    with gzip.open(archive) as stream:
        opcodes = pickletools.genops(stream.read())
        return max((argument for _, argument, _ in opcodes if isinstance(argument, bytes)), key=len)


def load(data_dir: Path) -> tuple[Tensor, Tensor]:
    """Pictures ``(N, 1, 32, 32)`` in [-1, 1], padded with their ground, and labels ``(N,)`` in [0, 10)."""
    folder = sources.fetch("animals", data_dir) / FOLDER
    samples = np.frombuffer(largest_bytes(folder / "animal_data_version_3.gz"), dtype=np.uint8)
    labels = np.frombuffer(largest_bytes(folder / "animal_label_version_3.gz"), dtype="<i8")
    pictures: NDArray[np.float32] = samples.reshape(COUNT, FILE_SIDE, FILE_SIDE).astype(np.float32) / 127.5 - 1
    edge = (SIDE - FILE_SIDE) // 2
    padded = np.pad(pictures, ((0, 0), (edge, edge), (edge, edge)), constant_values=-1)
    return torch.from_numpy(padded[:, None].copy()), torch.from_numpy(labels.astype(np.int64))
