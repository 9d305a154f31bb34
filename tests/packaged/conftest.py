"""Pictures made by code, and a machine without a package."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

Pixels = npt.NDArray[np.uint8]
Forget = Callable[[str], None]


@pytest.fixture
def scene() -> Pixels:
    """(128, 128, 3): a house and a tree on a hill, under a sun."""
    return draw_scene(128)


@pytest.fixture
def noise() -> Pixels:
    """(96, 96, 3): every value as likely as any other."""
    return np.random.default_rng(7).integers(0, 256, (96, 96, 3), np.uint8)


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Forget:
    """Makes an installed distribution, or a module, look as if it were not there."""

    def missing(name: str) -> None:
        monkeypatch.setitem(sys.modules, name, None)
        whole = metadata.distribution

        def found(wanted: str) -> metadata.Distribution:
            if wanted == name:
                raise metadata.PackageNotFoundError(wanted)
            return whole(wanted)

        monkeypatch.setattr(metadata, "distribution", found)

    return missing


def draw_scene(side: int) -> Pixels:
    """Coordinates in [0, 1], drawn at four times the side and averaged, so that edges are soft."""
    fine = 4 * side
    y, x = np.mgrid[0:fine, 0:fine] / fine
    picture = np.stack([120 + 100 * y, 170 + 40 * y, 235 - 60 * y], -1)
    picture[y > 0.62 + 0.08 * np.sin(5 * x)] = (90, 120, 60)
    picture[(x - 0.78) ** 2 + (y - 0.2) ** 2 < 0.008] = (250, 220, 120)
    picture[(np.abs(x - 0.3) < 0.12) & (y > 0.45) & (y < 0.7)] = (190, 90, 70)
    picture[(y > 0.3) & (y < 0.45) & (np.abs(x - 0.3) < (y - 0.3) * 1.1)] = (110, 50, 40)
    picture[(np.abs(x - 0.65) < 0.015) & (y > 0.6) & (y < 0.75)] = (90, 60, 40)
    picture[(x - 0.65) ** 2 + (y - 0.5) ** 2 < 0.015] = (40, 100, 40)
    return np.clip(picture.reshape(side, 4, side, 4, 3).mean((1, 3)) + 0.5, 0, 255).astype(np.uint8)
