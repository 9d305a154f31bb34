"""What a sprite stands on: ten plain colours and four simple scenes, drawn by code.

Also the reverse: which background a finished picture has, told from its border.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 64
BORDER_PIXELS: Final = 3
HORIZON: Final = 38

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Background:
    """One background: its English and Chinese word, and its colour when it is plain (RGB, 0 to 255)."""

    english: str
    chinese: str
    rgb: tuple[int, int, int] | None = None


BACKGROUNDS: Final = (
    Background("white", "白色", (255, 255, 255)),
    Background("black", "黑色", (16, 16, 16)),
    Background("grey", "灰色", (128, 128, 128)),
    Background("red", "红色", (214, 40, 40)),
    Background("orange", "橙色", (245, 140, 30)),
    Background("yellow", "黄色", (250, 215, 50)),
    Background("green", "绿色", (50, 165, 75)),
    Background("blue", "蓝色", (45, 105, 215)),
    Background("purple", "紫色", (130, 65, 180)),
    Background("pink", "粉色", (250, 160, 195)),
    Background("grass", "草地"),
    Background("sea", "大海"),
    Background("sand", "沙滩"),
    Background("night sky", "夜空"),
)
PLAIN: Final = tuple(index for index, background in enumerate(BACKGROUNDS) if background.rgb is not None)


def gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Pixels:
    """A vertical blend of two colours: ``(SIDE, SIDE, 3)`` in [0, 1]."""
    blend = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    colours = (1 - blend) * np.array(top, np.float32) + blend * np.array(bottom, np.float32)
    rows: Pixels = np.asarray(colours / 255, dtype=np.float32)
    return np.repeat(rows, SIDE, axis=1)


def ground(sky: Pixels, earth: Pixels, rng: np.random.Generator) -> tuple[Pixels, int]:
    """Sky above, earth below a horizon that moves by a few pixels."""
    horizon = HORIZON + int(rng.integers(-3, 4))
    picture = sky.copy()
    picture[horizon:] = earth[horizon:]
    return picture, horizon


def grass(rng: np.random.Generator) -> Pixels:
    """A green meadow with darker tufts under a light sky."""
    picture, horizon = ground(gradient((150, 210, 245), (225, 243, 252)), gradient((140, 205, 80), (70, 155, 45)), rng)
    for _ in range(14):
        row, column = int(rng.integers(horizon + 2, SIDE - 2)), int(rng.integers(0, SIDE - 2))
        picture[row : row + 3, column] *= 0.8
    return picture


def sea(rng: np.random.Generator) -> Pixels:
    """Blue water with pale wave lines under a light sky."""
    picture, horizon = ground(gradient((185, 228, 250), (232, 246, 253)), gradient((60, 175, 210), (10, 85, 155)), rng)
    for _ in range(8):
        row, column = int(rng.integers(horizon + 2, SIDE - 1)), int(rng.integers(0, SIDE - 8))
        picture[row, column : column + 7] = 0.55 * picture[row, column : column + 7] + 0.45
    return picture


def sand(rng: np.random.Generator) -> Pixels:
    """A sandy beach with darker grains under a light sky."""
    picture, horizon = ground(
        gradient((165, 215, 245), (235, 243, 245)), gradient((245, 225, 170), (220, 180, 115)), rng
    )
    for _ in range(18):
        row, column = int(rng.integers(horizon + 2, SIDE - 1)), int(rng.integers(0, SIDE - 2))
        picture[row, column : column + 2] *= 0.88
    return picture


def night(rng: np.random.Generator) -> Pixels:
    """A dark blue sky with stars."""
    picture = gradient((8, 10, 45), (45, 40, 110))
    for _ in range(16):
        row, column = rng.integers(1, SIDE - 2, 2)
        picture[row : row + 1 + int(rng.integers(0, 2)), column] = (1.0, 0.97, 0.8)
    return picture


SCENES: Final[dict[str, Callable[[np.random.Generator], Pixels]]] = {
    "grass": grass,
    "sea": sea,
    "sand": sand,
    "night sky": night,
}


def draw(index: int, rng: np.random.Generator) -> Pixels:
    """Draw a background: ``(SIDE, SIDE, 3)`` in [0, 1]. Plain colours ignore ``rng``."""
    background = BACKGROUNDS[index]
    if background.rgb is None:
        return SCENES[background.english](rng)
    colour: Pixels = np.asarray(np.array(background.rgb) / 255, dtype=np.float32)
    return np.tile(colour, (SIDE, SIDE, 1))


def border_colours(pictures: Pixels) -> Pixels:
    """Median colour of the top and of the bottom border: ``(B, SIDE, SIDE, 3)`` to ``(B, 6)``, both in [0, 1]."""
    count = len(pictures)
    top = np.median(pictures[:, :BORDER_PIXELS].reshape(count, -1, 3), axis=1)
    bottom = np.median(pictures[:, -BORDER_PIXELS:].reshape(count, -1, 3), axis=1)
    return np.asarray(np.concatenate([top, bottom], axis=1), dtype=np.float32)


def recognise(pictures: Pixels) -> NDArray[np.int64]:
    """Which background each picture has: the nearest border colours; ``(B, SIDE, SIDE, 3)`` to ``(B,)``."""
    rng = np.random.default_rng(0)
    references = border_colours(np.stack([draw(index, rng) for index in range(len(BACKGROUNDS))]))
    distances = np.square(border_colours(pictures)[:, None] - references[None]).sum(axis=2)
    nearest: NDArray[np.int64] = distances.argmin(axis=1)
    return nearest
