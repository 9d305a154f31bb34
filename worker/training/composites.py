"""Composites: a sprite on a background, and the seeded set of combinations that no training ever sees."""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.training.backgrounds import BACKGROUNDS, SIDE, draw
from worker.training.nouns import nouns
from worker.training.sprites import STYLES, Sprites

HOLDOUT_SEED: Final = 20261121
HOLDOUT_PERCENT: Final = 6

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True, order=True)
class Combination:
    """A noun, a style and a background, each by its index in its table."""

    noun: int
    style: int
    background: int


def is_held_out(combination: Combination) -> bool:
    """Whether a combination belongs to the holdout: a hash of its names, so that it survives edits of the tables."""
    noun = nouns()[combination.noun].english
    background = BACKGROUNDS[combination.background].english
    text = f"{HOLDOUT_SEED}/{noun}/{STYLES[combination.style]}/{background}"
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100 < HOLDOUT_PERCENT


@cache
def combinations(*, held_out: bool) -> tuple[Combination, ...]:
    """Every combination on one side of the split, in a fixed order."""
    every = (
        Combination(noun, style, background)
        for noun in range(len(nouns()))
        for style in range(len(STYLES))
        for background in range(len(BACKGROUNDS))
    )
    return tuple(combination for combination in every if is_held_out(combination) == held_out)


@dataclass(frozen=True, slots=True)
class Jitter:
    """How much a sprite varies: its sizes (even, in pixels), its way off the centre, and whether it may be mirrored."""

    smallest_pixels: int
    largest_pixels: int
    reach_pixels: int
    mirror: bool


# What draws pictures must cope with any place; what learns words learns them sooner when nothing else varies.
WIDE: Final = Jitter(smallest_pixels=48, largest_pixels=56, reach_pixels=5, mirror=True)
NARROW: Final = Jitter(smallest_pixels=54, largest_pixels=54, reach_pixels=0, mirror=False)
MARGIN_PIXELS: Final = 3


def compose(sprites: Sprites, combination: Combination, rng: np.random.Generator, jitter: Jitter = WIDE) -> Pixels:
    """Paste a sprite with some jitter of size, place and mirroring: ``(SIDE, SIDE, 3)`` in [0, 1]."""
    picture = draw(combination.background, rng)
    pixels = int(rng.integers(jitter.smallest_pixels // 2, jitter.largest_pixels // 2 + 1)) * 2
    sprite = sprites.scaled(combination.noun, combination.style, pixels)
    if jitter.mirror and nouns()[combination.noun].mirror and rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
        sprite = sprite[:, ::-1]
    centre = (SIDE - pixels) // 2
    reach = min(jitter.reach_pixels, centre - MARGIN_PIXELS)
    top, left = rng.integers(centre - reach, centre + reach + 1, 2)
    window = picture[top : top + pixels, left : left + pixels]
    window[...] = sprite[..., :3] + window * (1 - sprite[..., 3:])
    return np.clip(picture, 0, 1)


def as_bytes(picture: Pixels) -> NDArray[np.uint8]:
    """[0, 1] floats to 8-bit samples."""
    return np.round(picture * 255).astype(np.uint8)
