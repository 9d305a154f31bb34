"""The latent cache: every training combination encoded, in the one pose that the text-to-image model learns.

The encoder must be finished: the text-to-image model learns its latents, and only the decoder may still improve.
A scene still differs from picture to picture; a second encoding of each combination adds more such variety.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.training.batches import to_tensor
from worker.training.composites import NARROW, Combination, combinations, compose
from worker.training.loop import rng_of
from worker.training.sprites import Sprites

BATCH: Final = 64


@dataclass(frozen=True)
class Latents:
    """Normalised latents ``(N, C, 8, 8)`` float16, what each shows ``(N, 3)``, and the normalisation ``(C,)``."""

    values: Tensor
    shown: Tensor
    mean: Tensor
    std: Tensor

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[Combination]]:
        """A random batch: latents ``(count, C, 8, 8)`` float32 and their combinations."""
        index = torch.from_numpy(rng.integers(0, len(self.values), count))
        shown = [Combination(*row) for row in self.shown[index].tolist()]
        return self.values[index].float(), shown

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a cache."""
        tensors = load_file(path)
        return cls(tensors["values"], tensors["shown"], tensors["mean"], tensors["std"])

    def save(self, path: Path) -> None:
        """Write a cache."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"values": self.values, "shown": self.shown, "mean": self.mean, "std": self.std}, path)


@torch.no_grad()
def encode(vae: AutoencoderKL, sprites: Sprites, jitters: int, seed: int) -> Latents:
    """Encode every training combination ``jitters`` times and normalise each channel over all of them."""
    vae = vae.eval().to(memory_format=torch.channels_last)
    shown = [combination for combination in combinations(held_out=False) for _ in range(jitters)]
    parts = []
    for start in track(range(0, len(shown), BATCH), description="encoding"):
        rng, _ = rng_of(seed, start)
        pictures = np.stack([compose(sprites, item, rng, NARROW) for item in shown[start : start + BATCH]])
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encode(to_tensor(pictures)).latent_dist.mode().float())
    values = torch.cat(parts)
    mean, std = values.mean(dim=(0, 2, 3)), values.std(dim=(0, 2, 3))
    values = (values - mean[:, None, None]) / std[:, None, None]
    rows = torch.tensor([[item.noun, item.style, item.background] for item in shown], dtype=torch.int32)
    return Latents(values.half().contiguous(), rows, mean, std)


def main() -> None:
    """Encode from the command line."""
    from worker.training.vae import load_average

    parser = argparse.ArgumentParser(prog="python -m worker.training.latents", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--vae-run", type=Path, required=True, help="run folder of worker.training.vae")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jitters", type=int, default=1, help="encodings of each combination")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encode(load_average(arguments.vae_run), Sprites(arguments.data_dir), arguments.jitters, arguments.seed).save(
        arguments.out
    )


if __name__ == "__main__":
    main()
