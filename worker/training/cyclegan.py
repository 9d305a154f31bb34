"""Train a CycleGAN between two piles of pictures; from the command line, flat emoji and 3d emoji.

Least-squares GAN losses, cycle consistency, identity, and a pool of earlier fakes (Zhu et al. 2017, arXiv:1703.10593).
The generators that are kept are averages. Nothing is paired: the two piles show other combinations.
"""

import argparse
import copy
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from worker.nets.cyclegan import CycleGanConfig, CycleGanGenerator, PatchDiscriminator
from worker.training.adversarial import FAIR, draw_real
from worker.training.batches import to_pictures, to_tensor
from worker.training.commands import add_common, budget_of, keeping_of, prepare
from worker.training.composites import combinations, compose
from worker.training.loop import Pace, average, channels_last, descend, rng_of, train
from worker.training.sheets import sheet
from worker.training.sprites import STYLES, Sprites

# Instance norm would take the colour of a plain ground for an average, and lose it.
SMALL: Final = CycleGanConfig(ngf=24, n_blocks=3, norm="batch", upsampling="resize")
PICTURES: Final = 3000
HELD_OUT_NOUNS: Final = 8
"""One noun in so many is never seen, and serves the grades."""


@dataclass(frozen=True, slots=True)
class CycleGanSettings:
    """Hyper-parameters of the CycleGAN."""

    seed: int = 1
    batch: int = 8
    crop_pixels: int = 32
    config: CycleGanConfig = SMALL
    discriminator_width: int = 32
    discriminator_levels: int = 2
    rate: float = 8e-4
    discriminator_rate: float = 4e-4
    betas: tuple[float, float] = (0.5, 0.99)
    decay: float = 0.995
    cycle_weight: float = 5.0
    identity_weight: float = 1.0
    pool: int = 48
    mirror: bool = True


class FakePool(nn.Module):
    """Earlier fakes, kept with the run's state; half the time the discriminator sees one of them instead."""

    pictures: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def exchange(self, fakes: Tensor, stream: torch.Generator) -> Tensor:
        """``(B, C, H, W)`` to as many: new ones, or older ones whose places the new ones take."""
        shown = []
        for fake in fakes.detach():
            count, size = int(self.filled), len(self.pictures)
            if count < size:
                self.pictures[count] = fake
                self.filled += 1
                shown.append(fake)
            elif torch.rand((), generator=stream) < FAIR:
                place = int(torch.randint(0, size, (), generator=stream))
                shown.append(self.pictures[place].clone())
                self.pictures[place] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)


class CycleGanTask:
    """Both generators with their averages, both discriminators, both pools, and two optimizers."""

    def __init__(self, settings: CycleGanSettings, pictures_a: Tensor, pictures_b: Tensor) -> None:
        """``pictures_a``, ``pictures_b``: two unpaired piles, ``(N, C, H, W)`` in [-1, 1]."""
        self.settings, self.piles = settings, {"a": pictures_a, "b": pictures_b}
        torch.manual_seed(settings.seed)
        channels, piece = pictures_a.shape[1], min(settings.crop_pixels, *pictures_a.shape[2:])
        self.generators = {way: channels_last(CycleGanGenerator(settings.config)) for way in ("a_to_b", "b_to_a")}
        self.critics = {
            side: channels_last(
                PatchDiscriminator(channels, settings.discriminator_width, settings.discriminator_levels)
            )
            for side in ("a", "b")
        }
        for part in (*self.generators.values(), *self.critics.values()):
            part.apply(small_init)
        self.pools = {side: FakePool(settings.pool, (channels, piece, piece)) for side in ("a", "b")}
        self.averages: dict[str, nn.Module] = {
            way: copy.deepcopy(generator).requires_grad_(requires_grad=False)
            for way, generator in self.generators.items()
        }
        self.modules: dict[str, nn.Module] = (
            dict(self.generators)
            | {f"critic_{side}": critic for side, critic in self.critics.items()}
            | {f"pool_{side}": pool for side, pool in self.pools.items()}
        )
        makers = itertools.chain.from_iterable(part.parameters() for part in self.generators.values())
        judges = itertools.chain.from_iterable(part.parameters() for part in self.critics.values())
        self.optimizers: dict[str, Optimizer] = {
            "generators": torch.optim.Adam(makers, settings.rate, settings.betas),
            "critics": torch.optim.Adam(judges, settings.discriminator_rate, settings.betas),
        }

    def crops(self, side: str, stream: torch.Generator) -> Tensor:
        """A batch of one pile: pieces of ``crop_pixels``, which show as much of a style as whole pictures."""
        settings = self.settings
        pictures, _ = draw_real(self.piles[side], settings.batch, stream, mirror=settings.mirror)
        pieces = []
        for picture in pictures:
            spare = torch.tensor(picture.shape[1:]) - settings.crop_pixels
            top, left = (torch.rand(2, generator=stream) * (spare + 1).clamp_min(1)).long().tolist()
            pieces.append(picture[:, top : top + settings.crop_pixels, left : left + settings.crop_pixels])
        return torch.stack(pieces).contiguous(memory_format=torch.channels_last)

    def train_step(self, step: int, scale: float) -> dict[str, float]:
        """One step of both generators, then one of both discriminators."""
        del scale
        settings = self.settings
        _, stream = rng_of(settings.seed, step)
        a, b = (self.crops(side, stream) for side in ("a", "b"))
        for critic in self.critics.values():
            critic.requires_grad_(requires_grad=False)
        with torch.autocast("cpu", torch.bfloat16):
            # What should come out as it went in rides along in the same call.
            fake_b, same_b = self.generators["a_to_b"](torch.cat([a, b])).float().chunk(2)
            fake_a, same_a = self.generators["b_to_a"](torch.cat([b, a])).float().chunk(2)
            back_a = self.generators["b_to_a"](fake_b).float()
            back_b = self.generators["a_to_b"](fake_a).float()
            fooled = towards(self.critics["b"](fake_b), 1.0) + towards(self.critics["a"](fake_a), 1.0)
        cycle = F.l1_loss(back_a, a) + F.l1_loss(back_b, b)
        identity = F.l1_loss(same_a, a) + F.l1_loss(same_b, b)
        self.optimizers["generators"].zero_grad()
        descend(fooled + settings.cycle_weight * cycle + settings.identity_weight * identity)
        self.optimizers["generators"].step()
        for critic in self.critics.values():
            critic.requires_grad_(requires_grad=True)
        told = torch.zeros(())
        for side, real, fake in (("a", a, fake_a), ("b", b, fake_b)):
            older = self.pools[side].exchange(fake, stream)
            with torch.autocast("cpu", torch.bfloat16):
                scores = self.critics[side](torch.cat([real, older]))
            told = told + (towards(scores[: settings.batch], 1.0) + towards(scores[settings.batch :], 0.0)) / 2
        self.optimizers["critics"].zero_grad()
        descend(told)
        self.optimizers["critics"].step()
        for way, generator in self.generators.items():
            average(generator, self.averages[way], step, settings.decay)
        return {"fooled": fooled.item(), "cycle": cycle.item(), "identity": identity.item(), "told": told.item()}

    @torch.no_grad()
    def translate(self, way: str, pictures: Tensor) -> Tensor:
        """``(B, C, H, W)`` through an averaged generator; ``way`` is ``a_to_b`` or ``b_to_a``."""
        made: Tensor = self.averages[way].eval()(pictures)
        return made

    def sheet(self) -> Image.Image:
        """Four pairs of rows: pictures of a above their translations, then pictures of b above theirs."""
        rows = []
        for side, way in (("a", "a_to_b"), ("b", "b_to_a")):
            for start in (0, 12):
                pictures = self.piles[side][start : start + 12].float()
                rows += [pictures, self.translate(way, pictures)]
        return sheet(to_pictures(torch.cat(rows)), columns=12)


def towards(scores: Tensor, target: float) -> Tensor:
    """The least-squares GAN loss (Mao et al. 2016, arXiv:1611.04076)."""
    return (scores.float() - target).square().mean()


def small_init(module: nn.Module) -> None:
    """Convolutions start from N(0, 0.02), as in the paper."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def is_unseen(noun: int) -> bool:
    """Whether a noun is kept for the grades."""
    return noun % HELD_OUT_NOUNS == 0


def pile(sprites: Sprites, style: str, count: int, seed: int) -> Tensor:
    """``count`` composites of one style: ``(N, 3, 64, 64)`` in [-1, 1]."""
    index, rng = STYLES.index(style), np.random.default_rng(seed)
    seen = [combination for combination in combinations(held_out=False) if combination.style == index]
    nouns = sorted({c.noun for c in seen if not is_unseen(c.noun)})
    by_noun = {noun: [c for c in seen if c.noun == noun] for noun in nouns}
    pictures = []
    for _ in range(count):
        choices = by_noun[nouns[int(rng.integers(len(nouns)))]]
        pictures.append(compose(sprites, choices[int(rng.integers(len(choices)))], rng))
    return to_tensor(np.stack(pictures))


def main() -> None:
    """Train from the command line, then write both generators."""
    parser = argparse.ArgumentParser(prog="python -m worker.training.cyclegan", description=__doc__)
    add_common(parser)
    parser.add_argument("--out", type=Path, nargs=2, default=None, help="write flat to 3d here, and 3d to flat there")
    arguments = parser.parse_args()
    prepare(arguments)
    sprites = Sprites(arguments.data_dir)
    flat = pile(sprites, "flat", PICTURES, arguments.seed)
    round_ = pile(sprites, "3d", PICTURES, arguments.seed + 1)
    task = CycleGanTask(CycleGanSettings(seed=arguments.seed), flat, round_)
    train(task, budget_of(arguments), Pace(warmup_steps=50), keeping_of(arguments))
    if arguments.out:
        for way, folder in zip(("a_to_b", "b_to_a"), arguments.out, strict=True):
            generator = task.averages[way]
            assert isinstance(generator, CycleGanGenerator)  # noqa: S101 - the averages are copies of these
            generator.save_pretrained(folder)


if __name__ == "__main__":
    main()
