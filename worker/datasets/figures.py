"""What a report says of a data set: counts, sizes, and the mean and deviation of each channel, gathered on the way."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.datasets.cleaning import Drop
from worker.datasets.decoding import Pixels

MAX_NAMES = 1000
"""Of dropped pictures that a report names, for each reason."""


@dataclass
class Channels:
    """Mean and deviation of red, green and blue over all pixels, in [0, 1]; in one pass, in 64 bits."""

    pixels: int = 0
    total: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def add(self, picture: Pixels) -> None:
        """`(H, W, 3)` uint8."""
        samples = picture.reshape(-1, 3).astype(np.float64) / 255
        self.pixels += len(samples)
        self.total += samples.sum(axis=0)
        self.squares += np.square(samples).sum(axis=0)

    def summary(self) -> dict[str, list[float]]:
        """`mean` and `std`, three numbers each."""
        mean = self.total / max(self.pixels, 1)
        variance = np.maximum(self.squares / max(self.pixels, 1) - np.square(mean), 0)
        return {"mean": mean.round(6).tolist(), "std": np.sqrt(variance).round(6).tolist()}


@dataclass
class Tally:
    """What was written."""

    classes: dict[str, Counter[str]] = field(default_factory=dict)
    """By split, then by class; pictures of no class count as the empty one."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Channels = field(default_factory=Channels)

    def add(self, picture: Pixels, split: str, class_name: str | None) -> None:
        """One more picture."""
        self.classes.setdefault(split, Counter())[class_name or ""] += 1
        self.sizes[picture.shape[1], picture.shape[0]] += 1
        self.channels.add(picture)

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        splits = {split: counts.total() for split, counts in sorted(self.classes.items())}
        return {
            "pictures": sum(splits.values()),
            "splits": splits,
            "classes": dict(sorted(sum(self.classes.values(), Counter()).items())),
            "classes_by_split": {split: dict(sorted(counts.items())) for split, counts in sorted(self.classes.items())},
            "shortest_sides": histogram(self.sizes),
            "channels": self.channels.summary(),
        }


def histogram(sizes: Mapping[tuple[int, int], int]) -> dict[str, int]:
    """Pictures by their shorter side, in octaves: `32–63` pixels, then `64–127`."""
    octaves: Counter[int] = Counter()
    for (width, height), count in sizes.items():
        octaves[min(width, height).bit_length()] += count
    return {f"{1 << (bits - 1)}–{(1 << bits) - 1}": octaves[bits] for bits in sorted(octaves)}


def dropped(drops: Iterable[Drop]) -> dict[str, dict[str, Any]]:
    """For each reason how many, and the first names with their details."""
    found: dict[str, dict[str, Any]] = {}
    for drop in sorted(drops, key=lambda entry: entry.member.name):
        entry = found.setdefault(drop.reason, {"count": 0, "names": {}})
        entry["count"] += 1
        if len(entry["names"]) < MAX_NAMES:
            entry["names"][drop.member.name] = drop.detail
    return dict(sorted(found.items()))
