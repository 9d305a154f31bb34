"""Portraits: one emoji sprite on a soft ground of any hue, rendered ahead as tensors, for the GANs.

Unlike a composite (see ``composites.py``) a portrait has no caption and no holdout; its only name is its sprite's.
"""

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from worker.training import sources
from worker.training.sprites import FOLDERS, STYLES, file_of, trimmed

# Code points of things that look at you: they stay right when mirrored, and lie alike in all three styles.
ANIMAL_FACES: Final = (
    *("1f42d", "1f42e", "1f42f", "1f430", "1f431", "1f435", "1f436", "1f437", "1f438", "1f439", "1f43a", "1f43b"),
    *("1f43b-200d-2744-fe0f", "1f43c", "1f428", "1f981", "1f98a"),
)
SMILEYS: Final = (
    *("1f600", "1f601", "1f603", "1f606", "1f609", "1f60a", "1f60d", "1f60e", "1f60f", "1f610", "1f612", "1f61b"),
    *("1f61c", "1f61e", "1f620", "1f622", "1f62c", "1f62e", "1f633", "1f642", "1f644", "1f929"),
)
GARDEN: Final = {
    "apple": "1f34e",
    "orange": "1f34a",
    "lemon": "1f34b",
    "peach": "1f351",
    "strawberry": "1f353",
    "watermelon": "1f349",
    "pineapple": "1f34d",
    "mushroom": "1f344",
    "cactus": "1f335",
    "sunflower": "1f33b",
    "tulip": "1f337",
    "clover": "1f340",
}
"""Class names and their code points."""
MIRROR_RATE: Final = 0.5
ROOM_PIXELS: Final = 6
"""Empty edge round a sprite, so that no corner is lost when it is tilted."""
SHADE: Final = 0.18
"""How much lighter the top of the ground is than its bottom."""
# Rows of the rotation about the grey axis, for the hue (luminance weights as in ITU-R BT.601).
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Look:
    """How much a portrait varies. Sizes and reach are shares of the side; angles are in degrees; hues in turns."""

    smallest: float = 0.9
    largest: float = 1.0
    reach: float = 0.04
    tilt_degrees: float = 10.0
    hue_turns: float = 0.0
    saturation: tuple[float, float] = (0.2, 0.5)


def hue_matrix(turns: float) -> Pixels:
    """The linear map that turns hues by a share of the circle and keeps luminance and grey: ``(3, 3)``."""
    angle = 2 * np.pi * turns
    root = 1 / np.sqrt(3)
    grey = np.full((3, 3), 1 / 3)
    cross = root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turn = np.cos(angle) * (np.eye(3) - grey) + grey + np.sin(angle) * cross
    kept = turn + np.ones((3, 1)) * (LUMA - LUMA @ turn)  # what luminance the turn lost goes back to all channels
    return np.asarray(kept, np.float32)


def ground(side: int, rng: np.random.Generator, saturation: tuple[float, float]) -> Pixels:
    """A plain colour of any hue, a little lighter at its top: ``(side, side, 3)`` in [0, 1]."""
    colour = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(0.8, 0.97)), np.float32)
    shade = np.linspace(SHADE, 0, side, dtype=np.float32)[:, None, None]
    return np.asarray(np.broadcast_to(colour * (1 - shade) + shade, (side, side, 3)).copy(), np.float32)


def roomy(sprite: Image.Image) -> Image.Image:
    """A sprite with ``ROOM_PIXELS`` of nothing on each side."""
    wide = Image.new(sprite.mode, (sprite.width + 2 * ROOM_PIXELS, sprite.height + 2 * ROOM_PIXELS))
    wide.paste(sprite, (ROOM_PIXELS, ROOM_PIXELS))
    return wide


class PortraitSet:
    """The sprites of some code points in some styles, ready to be rendered."""

    def __init__(self, data_dir: Path, codepoints: tuple[str, ...], styles: tuple[str, ...] = STYLES) -> None:
        self.names = codepoints
        self._sprites: list[list[Image.Image]] = []
        for name in codepoints:
            row = []
            for style in styles:
                with Image.open(file_of(sources.fetch(style, data_dir) / FOLDERS[style], name)) as picture:
                    row.append(roomy(trimmed(picture)))
            self._sprites.append(row)

    def render(self, label: int, side: int, look: Look, rng: np.random.Generator) -> Pixels:
        """One portrait of a sprite in a random style: ``(side, side, 3)`` in [0, 1]."""
        row = self._sprites[label]
        pixels = round(side * rng.uniform(look.smallest, look.largest))
        sprite = row[int(rng.integers(len(row)))]
        if look.tilt_degrees:
            sprite = sprite.rotate(rng.uniform(-look.tilt_degrees, look.tilt_degrees), Image.Resampling.BICUBIC)
        sprite = sprite.resize((pixels, pixels), Image.Resampling.LANCZOS)
        samples = np.asarray(sprite, np.float32) / 255
        if rng.random() < MIRROR_RATE:
            samples = samples[:, ::-1]
        colours, alpha = samples[..., :3], samples[..., 3:]
        if look.hue_turns:
            colours = np.clip(colours @ hue_matrix(rng.uniform(-look.hue_turns, look.hue_turns)).T, 0, alpha)
        picture = ground(side, rng, look.saturation)
        slack = (side - pixels) // 2
        reach = min(slack, round(side * look.reach))
        top, left = rng.integers(slack - reach, slack + reach + 1, 2)
        window = picture[top : top + pixels, left : left + pixels]
        window[...] = colours + window * (1 - alpha)
        return np.clip(picture, 0, 1)

    def batch(self, count: int, side: int, look: Look, seed: int) -> tuple[Tensor, Tensor]:
        """``count`` portraits ``(N, 3, side, side)`` in [-1, 1], evenly of all labels, and their labels ``(N,)``."""
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % len(self.names)
        pictures = np.stack([self.render(int(label), side, look, rng) for label in labels])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous() * 2 - 1, torch.from_numpy(labels)
