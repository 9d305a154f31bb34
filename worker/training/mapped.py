"""Pictures with the maps that lead to them: composites of every pose, encoded once, each beside its own edges.

The maps are the worker's own, `worker.media.edges`, at the thresholds that a job has unless it says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.media.edges import canny
from worker.training.batches import to_tensor
from worker.training.composites import Combination, as_bytes, compose
from worker.training.loop import rng_of
from worker.training.sprites import Sprites

BATCH: Final = 32


@dataclass(frozen=True)
class Mapped:
    """Latents ``(N, C, 8, 8)`` float16, edges ``(N, 64, 64)`` bool and what each picture shows ``(N, 3)`` int32."""

    values: Tensor
    edges: Tensor
    shown: Tensor

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[Combination]]:
        """A random batch: latents ``(count, C, 8, 8)`` float32, maps ``(count, 3, 64, 64)`` and combinations."""
        return self.rows(torch.from_numpy(rng.integers(0, len(self.values), count)))

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor, list[Combination]]:
        """Some of them, as :meth:`draw` gives them."""
        shown = [Combination(*row) for row in self.shown[index].tolist()]
        return self.values[index].float(), as_maps(self.edges[index]), shown

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a cache."""
        return cls(**load_file(path))

    def save(self, path: Path) -> None:
        """Write a cache, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({"values": self.values, "edges": self.edges, "shown": self.shown}, partial)
        partial.replace(path)


def edges_of(pictures: NDArray[np.float32]) -> Tensor:
    """``(B, H, W, 3)`` in [0, 1] to ``(B, H, W)`` bool, as the task `control` makes them."""
    return torch.from_numpy(np.stack([canny(as_bytes(picture))[..., 0] > 0 for picture in pictures]))


def as_maps(edges: Tensor) -> Tensor:
    """``(B, H, W)`` bool to what a ControlNet takes: ``(B, 3, H, W)`` in [0, 1]."""
    return edges[:, None].expand(-1, 3, -1, -1).float()


@torch.no_grad()
def encode(vae: AutoencoderKL, sprites: Sprites, choices: Sequence[Combination], count: int, seed: int) -> Mapped:
    """Compose ``count`` of the choices with the wide jitter; no choice comes again before all others have come."""
    order = np.concatenate(
        [rng_of(seed, turn)[0].permutation(len(choices)) for turn in range(-(-count // len(choices)))]
    )
    picked = [choices[place] for place in order[:count]]
    values, edges = [], []
    for start in track(range(0, count, BATCH), description="encoding"):
        rng, _ = rng_of(seed, count + start)
        pictures = np.stack([compose(sprites, item, rng) for item in picked[start : start + BATCH]])
        with torch.autocast("cpu", torch.bfloat16):
            clean = vae.encode(to_tensor(pictures)).latent_dist.mode().float() * vae.config.scaling_factor
        values.append(clean.half())
        edges.append(edges_of(pictures))
    shown = torch.tensor([[item.noun, item.style, item.background] for item in picked], dtype=torch.int32)
    return Mapped(torch.cat(values).contiguous(), torch.cat(edges), shown)
